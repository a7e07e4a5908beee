/**
 * The canonical form of the audit trail, version 1. SQL (`conductor_project_trail` in `sql/013_cells.sql`) writes it; this module verifies
 * it and writes the twin in memory.
 *
 * ```
 * content        = array(input_params, output_summary, target_entity, error_message)
 * content_digest = sha256(salt ‖ utf8(content))
 * metadata       = array("conductor.audit.1", id, org_id, timestamp, event, action, tool_name, principal, agent, session_id, run_id, seq,
 *                        call_id, source_project, success, duration_ms, cost_usd, hex(content_digest))
 * hash(n)        = sha256(hash(n − 1) ‖ int64_be(n) ‖ sha256(utf8(metadata)))
 * hash(0)        = 32 zero bytes
 * ```
 *
 * `array` is a JSON array with `", "` between its elements and nothing else around them: null, a boolean, an integer in decimal, or a
 * string, escaped as `JSON.stringify` does (as Postgres does: `\"`, `\\`, `\b`, `\f`, `\n`, `\r`, `\t`, and `\u00XX` in lower case for
 * the other control characters; everything else as it is). Strings are all but these: `timestamp` is an integer, microseconds since 1970;
 * `seq` and `duration_ms` are integers; `success` is a boolean. `input_params` is the text of the `jsonb` as Postgres prints it;
 * `cost_usd` is a decimal number without trailing zeros; `id` is in lower case. `salt` is 16 random bytes, one for each row.
 *
 * The content columns may hold personal data and can be erased, with the salt, by `audit_erase`; then `content_digest` stays and says
 * nothing any more. Everything else is metadata, is never erased, and must not name a person otherwise than by an identifier: principals
 * are ids of accounts, not e-mail addresses.
 */
import { hash as digest } from "node:crypto"

/** The columns of a row that are content, as canonical text. */
export interface Content {
  readonly input: string | null
  readonly output: string | null
  readonly target: string | null
  readonly error: string | null
}

/** The columns of a row that stay for good, but its id and number. */
export interface Metadata {
  readonly org: string
  /** Microseconds since 1970. */
  readonly at: number
  readonly event: string
  readonly action: string
  readonly name: string
  readonly principal: string
  readonly agent: string | null
  readonly session: string | null
  readonly run: string | null
  readonly seq: number | null
  readonly call: string | null
  readonly project: string | null
  readonly success: boolean
  readonly durationMs: number | null
  readonly cost: string | null
}

/** A row of the trail as it is stored, in canonical terms. */
export interface Stored extends Content, Metadata {
  readonly n: number
  readonly id: string
  readonly salt: Uint8Array | null
  readonly contentDigest: Uint8Array
  readonly hash: Uint8Array
  /** Microseconds since 1970. */
  readonly erasedAt: number | null
}

/** The hash before the first row. */
export const origin: Uint8Array = new Uint8Array(32)

const sha256 = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => digest("sha256", Buffer.concat(parts), "buffer")

/** The elements of a canonical array; what is no Unicode is as it will be once it is stored. */
const elements = (values: ReadonlyArray<string | number | boolean | null>): string =>
  values.map((value) => JSON.stringify(typeof value === "string" ? value.toWellFormed() : value)).join(", ")

const utf8 = (text: string): Uint8Array => Buffer.from(text, "utf8")

/** The digest of a row's content with its salt. */
export const contentDigest = (salt: Uint8Array, row: Content): Uint8Array =>
  sha256(salt, utf8(`[${elements([row.input, row.output, row.target, row.error])}]`))

/** The canonical metadata between the id and the digest of the content. */
export const metadata = (row: Metadata): string =>
  elements([
    row.org, row.at, row.event, row.action, row.name, row.principal, row.agent, row.session, row.run, row.seq, row.call, row.project,
    row.success, row.durationMs, row.cost
  ])

/** The digest of a row's metadata, the digest of its content included. */
export const rowDigest = (row: Metadata & Pick<Stored, "id" | "contentDigest">): Uint8Array =>
  sha256(utf8(`[${elements(["conductor.audit.1", row.id])}, ${metadata(row)}, "${Buffer.from(row.contentDigest).toString("hex")}"]`))

/** The hash of row `n` from the hash before it and the row's digest. */
export const link = (before: Uint8Array, n: number, row: Uint8Array): Uint8Array => {
  const number = Buffer.alloc(8)
  number.writeBigInt64BE(BigInt(n))
  return sha256(before, number, row)
}

/** True where both are the same bytes. */
export const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
