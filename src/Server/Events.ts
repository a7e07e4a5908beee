import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Watched } from "../Conductor.ts"
import { RunLogged } from "../Api.ts"
import type { Delta } from "../RunLog.ts"
import { Draining } from "./Draining.ts"
import { Limits } from "./Limits.ts"
import { Standing } from "./Request.ts"

/** Milliseconds after which a reader that was told to come back does so. */
const comeBack = 1_000

/** Milliseconds for which pieces of an answer are gathered before they are written. */
const gathering = 20

const encodeLogged = Schema.encodeUnknownSync(Schema.fromJsonString(RunLogged))

const written = (event: string, data: string, id?: number): string => `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${data}\n\n`

const isMore = (last: Watched | undefined, item: Watched): last is Delta =>
  last !== undefined && !("event" in last) && !("event" in item) && last._tag === "Delta" && item._tag === "Delta" &&
  last.turn === item.turn && last.kind === item.kind

/** Neighbouring pieces of one text as one. */
const joined = (items: ReadonlyArray<Watched>): ReadonlyArray<Watched> => {
  const out: Array<Watched> = []
  for (const item of items) {
    const last = out.at(-1)
    if (isMore(last, item) && "text" in item) out[out.length - 1] = { ...last, text: last.text + item.text }
    else out.push(item)
  }
  return out
}

/** The text of items as a stream of server-sent events. */
export const render = (items: ReadonlyArray<Watched>): string =>
  joined(items).map((item) =>
    "event" in item ? written(item.event._tag, encodeLogged(item), item.seq) : written(item._tag, JSON.stringify(item))
  ).join("")

const retry = `retry: ${comeBack}\n\n`

const nothing = ": \n\n"

/**
 * A response that tells what is watched until that ends, the reader goes, its key is good no more, or the server drains. Where the watching fails, as on a
 * database that does not answer, the reader is told to come back.
 */
export const eventsOf = <E>(watched: Stream.Stream<Watched, E>) =>
  Effect.gen(function*() {
    const draining = yield* Draining
    const { heartbeatMs } = yield* Limits
    const standing = yield* Standing
    // So that nobody on the way takes the stream for dead.
    const heartbeat = Stream.drop(Stream.tick(heartbeatMs), 1).pipe(
      Stream.mapEffect(() => standing),
      Stream.takeWhile((isGood) => isGood),
      Stream.map(() => nothing)
    )
    const text = watched.pipe(
      Stream.mapArrayEffect((items) => {
        const text = [render(items)] as const
        return items.some((item) => "event" in item) ? Effect.succeed(text) : Effect.as(Effect.sleep(gathering), text)
      }),
      Stream.catchCause((cause) => Stream.fromEffect(Effect.as(Effect.logInfo("A stream broke off", cause), retry))),
      // The first byte tells the reader that it is connected.
      (stream) => Stream.concat(Stream.succeed(nothing), stream),
      Stream.merge(heartbeat, { haltStrategy: "either" }),
      Stream.interruptWhen(draining.begun),
      (stream) => Stream.concat(stream, Stream.fromEffect(Effect.match(draining.check, { onFailure: () => retry, onSuccess: () => "" }))),
      Stream.filter((text) => text !== "")
    )
    return HttpServerResponse.stream(Stream.encodeText(text), {
      contentType: "text/event-stream; charset=utf-8",
      headers: { "cache-control": "no-store", "x-accel-buffering": "no" }
    })
  })
