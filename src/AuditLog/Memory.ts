import { randomBytes, randomUUID } from "node:crypto"
import { OrgId } from "../Run.ts"
import type { Json, Tables } from "../RunLog.ts"
import { contentDigest, link, origin, rowDigest, type Stored } from "./Chain.ts"
import type { Where } from "./Filter.ts"
import { adminRow, type Unsealed } from "./Row.ts"

/** Rows of one organisation: in order, and not yet chained. */
interface Chain {
  readonly rows: Array<Stored>
  readonly waiting: Array<() => Unsealed | undefined>
  head: { readonly n: number; readonly hash: Uint8Array }
}

const seal = (row: Unsealed, n: number, before: Uint8Array): Stored => {
  const { execution: _, input, ...told } = row
  const salt = randomBytes(16)
  const numbered = { ...told, input: input === null ? null : JSON.stringify(input), n, id: randomUUID(), salt, erasedAt: null }
  const sealed = { ...numbered, contentDigest: contentDigest(salt, numbered) }
  return { ...sealed, hash: link(before, n, rowDigest(sealed)) }
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
  /** Takes in a row that is made when it is read. */
  const keep = (org: string, row: () => Unsealed | undefined) => void chainOf(org).waiting.push(row)
  const write = (row: Unsealed) => keep(row.org, () => row)
  /** The rows are made and chained when somebody reads them, so that runs in memory do not pay for what nobody looks at. */
  const read = (org: string): Chain => {
    const chain = chainOf(org)
    for (const waiting of chain.waiting.splice(0)) {
      const row = waiting()
      if (row === undefined) continue
      const stored = seal(row, chain.head.n + 1, chain.head.hash)
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
    write({
      ...adminRow({ org: OrgId.make(org), principal: by, action: "erase", name: "audit_erase" }, at),
      event: "ContentErased",
      run: "run" in where ? where.run : null,
      input: { ranges: rangesOf(erased) }
    })
    return erased.length
  }
  return { write, keep, read, erase }
}

/** The audit trail of a process. */
export const table = (tables: Tables["Service"]) => tables.get("audit_logs", make)
