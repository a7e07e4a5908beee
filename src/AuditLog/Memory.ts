import * as Schema from "effect/Schema"
import { randomBytes, randomUUID } from "node:crypto"
import type { Json, Row, Tables } from "../RunLog.ts"
import { contentDigest, link, origin, rowDigest, type Stored } from "./Chain.ts"
import type { Where } from "./Filter.ts"
import { pack } from "./Row.ts"

const Text = Schema.NullOr(Schema.String)
const Int = Schema.NullOr(Schema.Int)

/** A row as it was packed. */
const Given = Schema.Struct({
  m: Schema.Tuple([
    Schema.String, Schema.Int, Schema.String, Schema.String, Schema.String, Schema.String, Text, Text, Text, Int, Text, Text,
    Schema.Boolean, Int, Text
  ]),
  c: Schema.Tuple([Text, Text, Text]),
  p: Schema.Unknown
})
const decode = Schema.decodeUnknownSync(Given)

/** Rows of one organisation: in order, and not yet chained. */
interface Chain {
  readonly rows: Array<Stored>
  readonly waiting: Array<Row | (() => Row | undefined)>
  head: { readonly n: number; readonly hash: Uint8Array }
}

const seal = ({ c, m, p }: typeof Given.Type, n: number, before: Uint8Array): Stored => {
  const salt = randomBytes(16)
  const [org, at, event, action, name, principal, agent, session, run, seq, call, project, success, durationMs, cost] = m
  const [output, target, error] = c
  const content = { input: p === null ? null : JSON.stringify(p), output, target, error }
  const row = {
    ...content,
    n,
    id: randomUUID(),
    org,
    at,
    event,
    action,
    name,
    principal,
    agent,
    session,
    run,
    seq,
    call,
    project,
    success,
    durationMs,
    cost,
    salt,
    contentDigest: contentDigest(salt, content),
    erasedAt: null
  }
  return { ...row, hash: link(before, n, rowDigest(row)) }
}

/** The numbers as ranges: 1, 2, 3, 7 is [[1, 3], [7, 7]]. */
const rangesOf = (numbers: ReadonlyArray<number>): Json => {
  const ranges: Array<[number, number]> = []
  for (const n of numbers) {
    const last = ranges.at(-1)
    if (last?.[1] === n - 1) last[1] = n
    else ranges.push([n, n])
  }
  return ranges
}

const make = () => {
  const chains = new Map<string, Chain>()
  const chainOf = (org: string): Chain => {
    const known = chains.get(org)
    if (known !== undefined) return known
    const chain: Chain = { rows: [], waiting: [], head: { n: 0, hash: origin } }
    chains.set(org, chain)
    return chain
  }
  const write = (rows: ReadonlyArray<Row>) => {
    for (const row of rows) chainOf(decode(row).m[0]).waiting.push(row)
  }
  /** Takes in a row that is made when it is read. */
  const keep = (org: string, row: () => Row | undefined) => void chainOf(org).waiting.push(row)
  /** The rows are made and chained when somebody reads them, so that runs in memory do not pay for what nobody looks at. */
  const read = (org: string): Chain => {
    const chain = chainOf(org)
    for (const waiting of chain.waiting.splice(0)) {
      const row = typeof waiting === "function" ? waiting() : waiting
      if (row === undefined) continue
      const stored = seal(decode(row), chain.head.n + 1, chain.head.hash)
      chain.rows.push(stored)
      chain.head = { n: stored.n, hash: stored.hash }
    }
    return chain
  }
  const erase = (org: string, where: Where, by: string, at: number): number => {
    const { rows } = read(org)
    const erased: Array<number> = []
    rows.forEach((row, index) => {
      const meant = "run" in where ? row.run === where.run : "target" in where ? row.target === where.target : row.n === where.n
      if (!meant || row.erasedAt !== null || row.action === "erase") return
      erased.push(row.n)
      rows[index] = { ...row, input: null, output: null, target: null, error: null, salt: null, erasedAt: at * 1000 }
    })
    write([pack(0, {
      org_id: org,
      at,
      event: "ContentErased",
      action: "erase",
      tool_name: "audit_erase",
      principal: by,
      success: true,
      ...("run" in where ? { run_id: where.run } : {}),
      input_params: { ranges: rangesOf(erased) }
    })])
    return erased.length
  }
  return { write, keep, read, erase }
}

/** The audit trail of a process. */
export const table = (tables: Tables["Service"]) => tables.get("audit_logs", make)
