import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { ConfigProvider, Effect, Layer, Option, Schema, Stream } from "effect"
import type { AiError, Response } from "effect/ai"
import { assert } from "@effect/vitest"
import { Answer, Catalog, describe as describeFailure, Models, type Request } from "../../src/Model.ts"
import { ModelRef, Transcript } from "../../src/Run.ts"
import { replay, type Script } from "./replay.ts"

/** What a stream gave before it ended: its parts, the answer if it finished, the failure if it failed. */
export interface Outcome {
  readonly parts: ReadonlyArray<Response.StreamPartEncoded>
  readonly answer: Answer.Answer | undefined
  readonly error: AiError.AiError | undefined
}

export type Check = (outcome: Outcome) => void

export const play = (stream: Stream.Stream<Response.StreamPartEncoded, AiError.AiError>): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const parts: Array<Response.StreamPartEncoded> = []
    const collector = Answer.collect()
    const error = yield* Stream.runForEach(stream, (part) =>
      Effect.sync(() => {
        parts.push(part)
        collector.add(part)
      })).pipe(Effect.as(undefined), Effect.catch((error) => Effect.succeed(error)))
    return { parts, answer: error === undefined ? Option.getOrUndefined(collector.end()) : undefined, error }
  })

/** A provider as the tests ask it. */
export interface Asked {
  /** The provider's name, and the model that is asked where a request names none. */
  readonly provider: string
  readonly model: string
  /** The variables of its key and its address. */
  readonly key: string
  readonly baseUrl: string
  /** The headers of answers. */
  readonly headers: Readonly<Record<string, string>>
  /** A body of an answer that says next to nothing. */
  readonly body: string
}

export type Asking = ReturnType<typeof asking>

/** Ways to ask one provider over loopback. */
export const asking = ({ baseUrl, body, headers, key, model, provider }: Asked) => {
  const request = (more: Partial<Request> = {}): Request => ({
    model,
    system: "",
    messages: [{ role: "user", text: "Hello" }],
    tools: [],
    maxOutput: 1000,
    ...more
  })

  /** The models of the shipped catalogue with the provider at the given address. */
  const models = (url: string, more: Readonly<Record<string, string>> = {}) =>
    // Fresh, because a layer built around this one is shared by reference and would bring its own address.
    Layer.fresh(Models.layer).pipe(
      Layer.provideMerge(Catalog.layerShipped),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ [key]: "sk-test", [baseUrl]: url, ...more })))
    )

  const resolve = (id: string) => Effect.flatMap(Models, (models) => models.resolve(ModelRef.make(`${provider}:${id}`)))

  /** The provider's model among the models of the context. */
  const resolved = resolve(model)

  /** Asks the provider at the given address. */
  const ask = (url: string, asked: Request = request()): Effect.Effect<Outcome> =>
    Effect.flatMap(resolve(asked.model), (model) => play(model.stream(asked))).pipe(Effect.provide(models(url)), Effect.orDie)

  /** What comes of an answer, and of what else the script says. */
  const answerOf = (script: Partial<Script>, asked?: Request) =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* replay({ body, headers, ...script })
      return yield* ask(server.url, asked)
    }))

  /** How the exchange of a script fails. */
  const failureOf = (script: Script) =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* replay(script)
      const { error } = yield* ask(server.url)
      assert.isDefined(error)
      return describeFailure(error)
    }))

  /** The request that the adapter sends. */
  const sentFor = (asked: Request) =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* replay({ body, headers })
      const { error } = yield* ask(server.url, asked)
      assert.isUndefined(error)
      const received = server.received[0]
      assert.isDefined(received)
      return { headers: received.headers, path: received.path, text: received.body, body: JSON.parse(received.body) }
    }))

  /** Plays scripts over one client, each once. */
  const playAll = (scripts: ReadonlyArray<Script>, check: Check) =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* replay(...scripts)
      const model = yield* Effect.provide(resolved, models(server.url))
      yield* Effect.forEach(scripts, () => Effect.map(play(model.stream(request())), check), { concurrency: 8, discard: true })
      assert.strictEqual(server.received.length, scripts.length)
    }))

  /** One body in two pieces, cut after each of its bytes, and in pieces of one byte. */
  const atEveryByte = (body: string, check: Check) =>
    playAll([
      ...Array.from({ length: Buffer.byteLength(body) - 1 }, (_, index): Script => ({ body, headers, cuts: [index + 1] })),
      { body, headers, pieces: 1 }
    ], check)

  /** The same for many bodies: every byte ends a piece once, 64 bytes from the next cut, so that 65 exchanges do for one. */
  const atEveryByteOnce = (body: string, check: Check) => {
    const bytes = Buffer.byteLength(body)
    const cuts = (first: number) => Array.from({ length: Math.ceil((bytes - first) / 64) }, (_, index) => first + index * 64)
    return playAll([
      ...Array.from({ length: 64 }, (_, index): Script => ({ body, headers, cuts: cuts(index + 1).filter((cut) => cut < bytes) })),
      { body, headers, pieces: 1 }
    ], check)
  }

  return { answerOf, ask, names: { baseUrl, key }, headers, atEveryByte, atEveryByteOnce, failureOf, models, playAll, request, resolved, sentFor }
}

const Stored = Schema.fromJsonString(Schema.Array(Transcript.AssistantPart))

/** The parts of an answer as they come back from the log, where they are JSON. */
export const stored = (answer: Answer.Answer): Effect.Effect<ReadonlyArray<Transcript.AssistantPart>> =>
  Schema.encodeEffect(Stored)(answer.parts).pipe(Effect.flatMap(Schema.decodeEffect(Stored)), Effect.orDie)

/** One recorded exchange. */
export interface Recorded {
  readonly name: string
  readonly request: Readonly<Record<string, unknown>>
  readonly status: number
  readonly body: string
}

const folder = process.env["CONDUCTOR_RECORDINGS"] ?? ""

/** The recorded exchanges of one provider, or none where `CONDUCTOR_RECORDINGS` names no folder. */
export const recordings = (provider: string): ReadonlyArray<Recorded> => {
  if (folder === "") {
    console.log(`CONDUCTOR_RECORDINGS is not set: no recorded ${provider} exchange is played`)
    return []
  }
  if (!existsSync(folder)) throw new Error(`CONDUCTOR_RECORDINGS names ${folder}, which does not exist`)
  return readdirSync(folder).filter((file) => file.startsWith(`${provider}-`) && file.endsWith(".json")).flatMap((file) => {
    const exchanges: ReadonlyArray<{
      readonly request: { readonly body: string | Readonly<Record<string, unknown>> }
      readonly response: { readonly status: number; readonly body: string }
    }> = JSON.parse(readFileSync(join(folder, file), "utf8"))
    return exchanges.map(({ request, response }, index) => ({
      name: `${file.replace(/\.json$/, "")} #${index + 1}`,
      request: typeof request.body === "string" ? JSON.parse(request.body) : request.body,
      status: response.status,
      body: response.body
    }))
  })
}
