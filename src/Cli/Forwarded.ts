import { createHash, timingSafeEqual } from "node:crypto"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { BadRequest, KeyMissing, NotFound } from "../Api.ts"
import { Tickets } from "../Server.ts"
import { Handed, isHanded, path, type Piece } from "./Exchange.ts"
import { Output, paintOf } from "./Output.ts"
import type { Services } from "./Runtime.ts"
import { makeSignals, Signals } from "./Signals.ts"
import { Itself, Within } from "./Within.ts"

const decode = Schema.decodeUnknownEffect(Handed)

const hash = (text: string) => createHash("sha256").update(text).digest()

/** Where a command writes that is carried out for another process, and what it reads. */
const exchange = ({ isColoured, stdin }: Handed, tell: (piece: Piece) => void) => {
  const write = (text: string) => Effect.sync(() => text === "" ? undefined : tell({ out: text }))
  const output = Output.of({
    write,
    line: (text) => write(`${text}\n`),
    note: (text) => Effect.sync(() => tell({ err: text })),
    paint: paintOf(isColoured)
  })
  const stdio = Stdio.make({
    args: Effect.succeed([]),
    stdin: Stream.succeed(Buffer.from(stdin)),
    stdout: () => Sink.forEach((chunk: string | Uint8Array) => write(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("utf8"))),
    stderr: () => Sink.drain,
    stdoutIsTerminal: Effect.succeed(false)
  })
  return Layer.mergeAll(NodeServices.layer, Layer.succeed(Output, output)).pipe(Layer.merge(Layer.succeed(Stdio.Stdio, stdio)))
}

/**
 * Takes commands of other processes of this user, who know the token of the lock file: they are carried out by the program itself,
 * over this server's runtime. A process that goes away ends its command, and nothing else.
 */
export const routes = (token: string, services: Context.Context<Services>) =>
  HttpRouter.use(Effect.fnUntraced(function*(router) {
    const program = yield* Itself
    const served = services.pipe(Context.add(Tickets, yield* Tickets), Context.add(HttpServer.HttpServer, yield* HttpServer.HttpServer))
    const underWay = new Map<string, () => void>()
    const expected = hash(`Bearer ${token}`)
    const check = Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const isLocal = Option.exists(request.remoteAddress, (address) => /^(127\.|::1$|::ffff:127\.)/.test(address))
      if (!isLocal || !timingSafeEqual(hash(request.headers["authorization"] ?? ""), expected)) return yield* new KeyMissing()
      return request
    })

    const carryOut = Effect.gen(function*() {
      const request = yield* check
      const handed = yield* Effect.flatMap(Effect.orDie(request.json), decode).pipe(
        Effect.mapError(() => new BadRequest({ problems: [{ path: ["payload"], message: "it is no command" }] }))
      )
      if (program === undefined || !isHanded(handed.args)) return yield* new NotFound({ what: "such command" })
      const pieces = Stream.callback<Piece>(Effect.fnUntraced(function*(queue) {
        const signals = makeSignals()
        const tell = (piece: Piece) => void Queue.offerUnsafe(queue, piece)
        const fiber = yield* program(handed.args).pipe(
          Effect.provide(Layer.merge(exchange(handed, tell), Layer.succeed(Signals, signals.service))),
          Effect.provideService(Within, Option.some(served)),
          Effect.forkChild
        )
        const interrupt = () => {
          if (signals.receive("SIGINT", 0) !== "heard") fiber.interruptUnsafe()
        }
        yield* Effect.acquireRelease(
          Effect.sync(() => underWay.set(handed.id, interrupt)),
          () => Effect.sync(() => underWay.delete(handed.id))
        )
        const exit = yield* Fiber.await(fiber)
        tell({ code: Exit.isSuccess(exit) ? exit.value : 130 })
        yield* Queue.end(queue)
      }))
      return HttpServerResponse.stream(Stream.encodeText(Stream.map(pieces, (piece) => `${JSON.stringify(piece)}\n`)), {
        contentType: "application/x-ndjson"
      })
    })

    const signal = Effect.gen(function*() {
      yield* check
      const { id = "" } = yield* HttpRouter.params
      underWay.get(id)?.()
      return HttpServerResponse.empty({ status: 204 })
    })

    yield* router.add("POST", path, carryOut)
    yield* router.add("DELETE", `${path}/:id`, signal)
  }))
