import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { StorageFailed } from "../Run.ts"
import { contentDigest, link, origin, rowDigest, same, type Stored } from "./Chain.ts"

/** What is wrong with a row, or with the end of the chain. */
export type Problem =
  | "content-edited"
  | "metadata-edited"
  | "row-missing"
  | "row-moved"
  | "erasure-unrecorded"
  | "tail-missing"
  | "head-edited"
  | "anchor-differs"

/** What verifying the chain of an organisation found. */
export interface Report {
  /** Rows that are sound, from the first on. */
  readonly rows: number
  /** The end of the chain as far as it is sound, the hash in hex: an anchor to keep elsewhere. */
  readonly head: Anchor
  /** The first row that is not sound, where there is one, and a sentence that says why. */
  readonly broken?: { readonly n: number; readonly problem: Problem; readonly message: string }
}

/** A place in a chain: a row's number and its hash in hex. */
export interface Anchor {
  readonly n: number
  readonly hash: string
}

/** Where a chain is read from. */
export interface Source {
  /** The head as it is stored, and the last row's number, both of one moment. */
  readonly end: Effect.Effect<{ readonly n: number; readonly hash: Uint8Array; readonly last: number }, StorageFailed>
  /** Rows after a number up to another, in order, at most `limit`. */
  readonly page: (after: number, last: number, limit: number) => Effect.Effect<ReadonlyArray<Stored>, StorageFailed>
}

const pageSize = 1_000

const Ranges = Schema.fromJsonString(Schema.Struct({
  ranges: Schema.Array(Schema.Tuple([Schema.Int, Schema.Int]))
}))
const isRanges = Schema.decodeUnknownOption(Ranges)

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const isEmpty = (row: Stored): boolean => row.input === null && row.output === null && row.target === null && row.error === null

const contentProblem = (row: Stored): string | undefined => {
  if (row.salt === null) {
    return isEmpty(row) && row.erasedAt !== null ? undefined : `row ${row.n} has lost its salt without having been erased.`
  }
  if (row.erasedAt !== null) return `row ${row.n} says that it was erased, but still has its salt.`
  return same(contentDigest(row.salt, row), row.contentDigest) ? undefined : `the content of row ${row.n} is not what was written.`
}

/** Rows whose content is gone and whose erasure no row has told of yet: number to time of erasure. */
type Unexplained = Map<number, number | null>

const explain = (unexplained: Unexplained, record: Stored): void => {
  const said = isRanges(record.input)
  if (unexplained.size === 0 || said._tag === "None") return
  for (const [first, last] of said.value.ranges) {
    for (let n = first; n <= Math.min(last, record.n); n++) {
      if (unexplained.get(n) === record.at) unexplained.delete(n)
    }
  }
}

/**
 * Checks the chain from its first row to its end, reading page by page; memory grows only with the number of erased rows. Rows that are
 * appended meanwhile may be left for the next time.
 */
export const verify = Effect.fnUntraced(function*(source: Source, expect?: Anchor) {
  let n = 0
  let hash = origin
  const unexplained: Unexplained = new Map()

  const broken = (at: number, problem: Problem, message: string): Report => ({
    rows: n,
    head: { n, hash: hex(hash) },
    broken: { n: at, problem, message: `${message.charAt(0).toUpperCase()}${message.slice(1)}` }
  })

  /** A row that follows from the same place with the stored hash, further on, was there before. */
  const moved = Effect.fnUntraced(function*(row: Stored, last: number) {
    let after = row.n
    while (after < last) {
      const rows = yield* source.page(after, last, pageSize)
      for (const other of rows) {
        const was = link(hash, row.n, rowDigest(other))
        if (same(was, row.hash) || same(was, other.hash)) return other.n
      }
      after = rows.at(-1)?.n ?? last
    }
    return undefined
  })

  const check = Effect.fnUntraced(function*(row: Stored, last: number) {
    if (row.n !== n + 1) return broken(n + 1, "row-missing", `row ${n + 1} is missing.`)
    const content = contentProblem(row)
    if (content !== undefined) return broken(row.n, "content-edited", content)
    const next = link(hash, row.n, rowDigest(row))
    if (!same(next, row.hash)) {
      const other = yield* moved(row, last)
      return other === undefined
        ? broken(row.n, "metadata-edited", `row ${row.n} is not what was written.`)
        : broken(row.n, "row-moved", `what was row ${row.n} is now row ${other}.`)
    }
    if (expect?.n === row.n && hex(next) !== expect.hash.toLowerCase()) {
      return broken(row.n, "anchor-differs", `row ${row.n} has the hash ${hex(next)}, not the one expected.`)
    }
    if (row.salt === null) unexplained.set(row.n, row.erasedAt)
    if (row.action === "erase") explain(unexplained, row)
    n = row.n
    hash = next
    return undefined
  })

  while (true) {
    const end = yield* source.end
    while (n < end.last) {
      const rows = yield* source.page(n, end.last, pageSize)
      if (rows.length === 0) return broken(n + 1, "row-missing", `row ${n + 1} is missing.`)
      for (const row of rows) {
        const report = yield* check(row, end.last)
        if (report !== undefined) return report
      }
    }
    if (end.n > n) return broken(n + 1, "tail-missing", `the head says that there are ${end.n} rows, but they end at ${n}.`)
    if (end.n < n || !same(end.hash, hash)) {
      return broken(n, "head-edited", `the head is not the hash of the last row, ${n}.`)
    }
    if (expect !== undefined && expect.n > n) {
      return broken(n + 1, "anchor-differs", `row ${expect.n} is expected, but the rows end at ${n}.`)
    }
    if (unexplained.size === 0) return { rows: n, head: { n, hash: hex(hash) } } satisfies Report as Report
    // Erased after the reading began, perhaps: then the record is beyond the end that was read.
    const now = yield* source.end
    if (now.last === n) {
      const first = Math.min(...unexplained.keys())
      return broken(first, "erasure-unrecorded", `the content of row ${first} was emptied, and no row says so.`)
    }
  }
})
