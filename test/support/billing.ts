/** A double of the Messages API that caches and bills prompts by Anthropic's rules, and answers as it is told. */
import { createHash } from "node:crypto"
import * as http from "node:http"
import { Effect, type Scope } from "effect"
import { block, end, type Event, sse, start } from "./anthropic.ts"
import { onLoopback } from "./loopback.ts"

/* oxlint-disable typescript/no-explicit-any -- bodies of requests, looked at by hand */

/** How one request was billed, in tokens of four bytes. */
export interface Billed {
  readonly uncached: number
  readonly read: number
  readonly written: number
  readonly marks: number
}

/** Blocks that a mark looks back over for what an earlier request has written, itself included. */
const lookback = 20

/** The blocks of a prompt in the order in which the cache reads them: tools, system text, messages. */
const blocksOf = (body: any): ReadonlyArray<{ readonly bytes: string; readonly marked: boolean; readonly type: string }> =>
  [
    ...(body.tools ?? []),
    ...(body.system ?? []),
    ...body.messages.flatMap(({ content, role }: any) => content.map((one: any) => ({ ...one, role })))
  ].map(({ cache_control, ...rest }: any) => ({ bytes: JSON.stringify(rest), marked: cache_control !== undefined, type: rest.type ?? "tool" }))

/** A server that knows which prefixes were written; `answer` makes the events of the answer to the request of that number. */
export const billing = (answer: (request: number, body: any) => ReadonlyArray<Event>): Effect.Effect<
  { readonly url: string; readonly billed: ReadonlyArray<Billed>; readonly problems: ReadonlyArray<string> },
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const billed: Array<Billed> = []
    const problems: Array<string> = []
    const written = new Set<string>()

    const bill = (body: any): Billed => {
      const blocks = blocksOf(body)
      const prefixes: Array<{ readonly hash: string; readonly tokens: number }> = []
      const hash = createHash("sha256")
      let tokens = 0
      for (const { bytes } of blocks) {
        hash.update(bytes).update("\n")
        tokens += Math.ceil(bytes.length / 4)
        prefixes.push({ hash: hash.copy().digest("hex"), tokens })
      }
      const marks = blocks.flatMap(({ marked }, index) => marked ? [index] : [])
      if (marks.length > 4) problems.push(`${marks.length} marks`)
      for (const index of marks) if (blocks[index]?.type.endsWith("thinking")) problems.push("a mark on thinking")
      let read = 0
      for (const mark of marks.toReversed()) {
        for (let at = mark; at > mark - lookback && at >= 0; at--) {
          const prefix = prefixes[at]
          if (prefix !== undefined && written.has(prefix.hash)) read = Math.max(read, prefix.tokens)
        }
        if (read > 0) break
      }
      for (const mark of marks) written.add(prefixes[mark]?.hash ?? "")
      const last = prefixes[marks.at(-1) ?? -1]?.tokens ?? 0
      return { uncached: tokens - Math.max(last, read), read, written: Math.max(0, last - read), marks: marks.length }
    }

    const server = http.createServer((request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        const body = JSON.parse(Buffer.concat(chunks).toString("utf8"))
        const one = bill(body)
        billed.push(one)
        const use = {
          input_tokens: one.uncached, cache_read_input_tokens: one.read, cache_creation_input_tokens: one.written,
          cache_creation: { ephemeral_5m_input_tokens: one.written, ephemeral_1h_input_tokens: 0 }, output_tokens: 1
        }
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.end(sse([start(use), ...answer(billed.length, body)]))
      })
    })
    const url = yield* onLoopback(server)
    return { url, billed, problems }
  })

/** An answer of thought, text, and so many calls of a tool. */
export const calling = (request: number, name: string, calls: number, thought: boolean): ReadonlyArray<Event> => [
  ...(thought ? block(0, { type: "thinking", thinking: "", signature: "" }, { type: "thinking_delta", thinking: `Thought ${request}.` }, { type: "signature_delta", signature: `sig-${request}` }) : []),
  ...block(1, { type: "text", text: "" }, { type: "text_delta", text: `Turn ${request}.` }),
  ...Array.from({ length: calls }, (_, index) =>
    block(index + 2, { type: "tool_use", id: `toolu_${request}_${index}`, name, input: {} }, { type: "input_json_delta", partial_json: `{"n":${index}}` })).flat(),
  ...end(calls === 0 ? "end_turn" : "tool_use", { output_tokens: 20 })
]
