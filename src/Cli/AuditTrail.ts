import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Anchor, AuditLog, type Entry } from "../AuditLog.ts"
import * as Money from "../Money.ts"
import { CurrentOrg } from "../Org.ts"
import { failed } from "./Failure.ts"
import { counted, duration, shorten, time } from "./Format.ts"
import { printList } from "./Lists.ts"
import { Output, plain } from "./Output.ts"
import { conductor, runId } from "./Runtime.ts"

/** `conductor audit list`. */
export const printAudit = Effect.fnUntraced(function*(input: {
  readonly limit: number
  readonly run: Option.Option<string>
  readonly tool: Option.Option<string>
  readonly json: boolean
}) {
  const audit = yield* AuditLog
  const org = yield* CurrentOrg
  const rows = yield* audit.list({
    org,
    limit: input.limit,
    ...(Option.isSome(input.run) ? { run: yield* runId(input.run.value) } : {}),
    ...(Option.isSome(input.tool) ? { tool: input.tool.value } : {})
  })
  yield* printList<Entry>(rows, {
    json: input.json,
    head: [">N", "WHEN (UTC)", "ACTION", "WHAT", "BY", "OK", ">TIME", ">COST", "TARGET OR OUTPUT"],
    cells: (row) => [
      String(row.n), time(row.at), row.action, plain(row.tool), plain(row.principal), row.success ? "yes" : "no",
      row.durationMs === null ? "" : duration(row.durationMs), row.cost === null ? "" : Money.display(row.cost),
      row.erasedAt === null ? shorten(plain(row.target ?? row.error ?? row.output ?? ""), 60) : "(erased)"
    ],
    encode: (row) => ({ ...row, cost: row.cost === null ? null : Money.format(row.cost) }),
    empty: "The audit trail has no such rows."
  })
}, Effect.provide(conductor([])))

/** `conductor audit verify`. */
export const verifyAudit = Effect.fnUntraced(function*(input: { readonly expect: Option.Option<Anchor>; readonly json: boolean }) {
  const output = yield* Output
  const audit = yield* AuditLog
  const org = yield* CurrentOrg
  const report = yield* audit.verify({ org, ...(Option.isSome(input.expect) ? { expect: input.expect.value } : {}) })
  if (input.json) yield* output.line(JSON.stringify(report))
  if (report.broken !== undefined) {
    return yield* failed(`The audit trail is broken at row ${report.broken.n}: ${report.broken.message} ${counted(report.rows, "row")} before it are sound.`)
  }
  if (input.json) return
  yield* output.line(`${output.paint.green("✓")} ${counted(report.rows, "row")}, chain verified`)
  if (report.rows > 0) yield* output.line(`  keep elsewhere, for --expect: ${report.head.n}:${report.head.hash}`)
}, Effect.provide(conductor([])))
