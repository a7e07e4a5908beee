import * as Context from "effect/Context"
import * as Duration from "effect/Duration"

/** How long a process owns its runs without renewing, by the database's clock. */
export const LeaseTime = Context.Reference<Duration.Duration>("conductor-ai/RunLog/LeaseTime", {
  defaultValue: () => Duration.seconds(15)
})

/** How often a process renews its lease. */
export const LeaseRenewal = Context.Reference<Duration.Duration>("conductor-ai/RunLog/LeaseRenewal", {
  defaultValue: () => Duration.seconds(5)
})
