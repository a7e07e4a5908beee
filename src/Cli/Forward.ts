import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import { type DirectoryLocked, holderOf } from "../Database.ts"
import { type Handed, path, Piece } from "./Exchange.ts"
import { failed } from "./Failure.ts"
import { Output } from "./Output.ts"
import { Signals } from "./Signals.ts"

const decodePiece = Schema.decodeUnknownEffect(Schema.fromJsonString(Piece))

/**
 * Has a command carried out by the server that holds the data directory, and writes what it writes. Ctrl-C is passed on. The exit code,
 * or nothing where it is no server that holds the directory.
 */
export const forward = Effect.fnUntraced(function*(locked: DirectoryLocked, args: ReadonlyArray<string>, stdin: string) {
  const holder = yield* holderOf(locked.dir)
  if (Option.isNone(holder) || holder.value.address === null || holder.value.token === null) return Option.none()
  const { address, pid, token } = holder.value
  const output = yield* Output
  const signals = yield* Signals
  const random = yield* SecureRandom.SecureRandom
  const client = HttpClient.mapRequest(yield* HttpClient.HttpClient, (request) =>
    HttpClientRequest.bearerToken(HttpClientRequest.prependUrl(request, `${address}${path}`), token))
  const id = yield* random.uuidV7()
  const silent = () => failed(`The server (process ${pid}) that holds ${locked.dir} does not answer at ${address}: wait for it, or stop it.`)

  const command: Handed = { id, args, stdin, isColoured: output.paint.bold("") !== "" }
  let code: number | undefined
  const take = (line: string) =>
    Effect.flatMap(Effect.mapError(decodePiece(line), silent), (piece) => {
      if ("code" in piece) {
        code = piece.code
        return Effect.void
      }
      return "out" in piece ? output.write(piece.out) : output.note(piece.err)
    })
  const carriedOut = Effect.gen(function*() {
    const response = yield* client.execute(HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(""), command))
    if (response.status !== 200) return yield* silent()
    yield* response.stream.pipe(Stream.decodeText, Stream.splitLines, Stream.filter((line) => line !== ""), Stream.runForEach(take))
    return code ?? (yield* silent())
  }).pipe(Effect.mapError((error) => error._tag === "Ended" ? error : silent()))
  const passOn = Effect.flatMap(signals.stop, () => Effect.ignore(client.execute(HttpClientRequest.delete(`/${id}`))))

  return yield* signals.heeding(Effect.gen(function*() {
    const watching = yield* Effect.forkChild(passOn)
    const ended = yield* carriedOut
    yield* Fiber.interrupt(watching)
    return Option.some(ended)
  }))
}, Effect.provide([NodeHttpClient.layerNodeHttp, SecureRandom.layerWebCrypto]))
