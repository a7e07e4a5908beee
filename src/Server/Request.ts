import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** The request under way, as the log names it. */
export interface Request {
  /** Also in the header `x-request-id` of its response. */
  readonly id: string
  /** What it turned out to be about: the organisation, who makes it, the run. */
  readonly about: { org?: string; principal?: string; run?: string }
}

/** The request under way. */
export const CurrentRequest = Context.Reference<Request>("conductor-ai/Server/CurrentRequest", {
  defaultValue: () => ({ id: "none", about: {} })
})

/** Takes note of what the request is about, for its line in the log. */
export const isAbout = (about: Request["about"]) =>
  Effect.map(CurrentRequest, (request) => {
    Object.assign(request.about, about)
  })

/** Whether whoever makes the request may still make it, for what takes long. */
export const Standing = Context.Reference<Effect.Effect<boolean>>("conductor-ai/Server/Standing", { defaultValue: () => Effect.succeed(true) })
