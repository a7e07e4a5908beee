import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { RunEvent } from "../Run.ts"

const encodeEvent = Schema.encodeUnknownSync(RunEvent)

/** An event from its stored JSON. */
export const decodeEvent = Schema.decodeUnknownSync(RunEvent)

/**
 * The event as JSON text. Schemas check what may come from outside; what is made here alone, as an answer is that was collected from a
 * stream, needs no check on each step. Of a `TurnStarted` what the flush grants comes last, where the flush looks for it.
 */
export const payloadOf = (event: RunEvent): string => {
  switch (event._tag) {
    case "TurnStarted": {
      const { maxOutput, reserved, scopes, warnings: _, ...rest } = event
      return JSON.stringify({ ...rest, maxOutput, reserved: Money.format(reserved), scopes })
    }
    case "TurnCompleted": {
      const { bill } = event
      return JSON.stringify({ ...event, bill: { ...bill, cost: Money.format(bill.cost) } })
    }
    case "ToolStarted":
    case "ToolCompleted":
      return JSON.stringify(event)
    default:
      return JSON.stringify(encodeEvent(event))
  }
}
