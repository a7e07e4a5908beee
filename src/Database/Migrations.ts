import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as SqlSchema from "effect/sql/SqlSchema"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { statementsOf } from "./Statements.ts"

/** A file that was applied has another content now. */
export class MigrationChanged extends Schema.TaggedError<MigrationChanged>()("MigrationChanged", { file: Schema.String }) {
  override get message() {
    return `The migration ${this.file} was changed after it had been applied to this database: restore the file and put the change into a new one.`
  }
}

/** A file that was applied is gone. */
export class MigrationVanished extends Schema.TaggedError<MigrationVanished>()("MigrationVanished", { file: Schema.String }) {
  override get message() {
    return `The migration ${this.file} was applied to this database but is not part of this program: run the newer version of the program, or restore the file.`
  }
}

/** A file cannot be read or one of its statements was refused; nothing of the file was applied. */
export class MigrationFailed extends Schema.TaggedError<MigrationFailed>()("MigrationFailed", {
  file: Schema.String,
  /** From 1; 0 when the file as a whole is meant. */
  line: Schema.Int,
  /** The statement, cut to 300 characters. */
  statement: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    const where = this.line === 0 ? this.file : `${this.file}, line ${this.line}`
    return `The migration ${where} failed (${this.problem})${this.statement === "" ? "" : ` at: ${this.statement}`}`
  }
}

/** What can go wrong with migrations. A database that is down is an `SqlError` with the reason `ConnectionError`. */
export type MigrationError = MigrationChanged | MigrationVanished | MigrationFailed | SqlError

/** One file of a folder. */
export interface Migration {
  readonly name: string
  readonly checksum: string
  readonly sql: string
}

/** What has been applied to a database and what has not. */
export interface Status {
  readonly applied: ReadonlyArray<{ readonly name: string; readonly appliedAt: Date }>
  readonly pending: ReadonlyArray<string>
}

/** The package's own folder: `sql/` beside both `src/` and `dist/`. */
export const ownFolder: string = fileURLToPath(new URL("../../sql/", import.meta.url))

/** Reads the `*.sql` files of a folder in the order of their names. */
export const load = (folder: string): Effect.Effect<ReadonlyArray<Migration>, MigrationFailed> =>
  Effect.try({
    try: () =>
      fs.readdirSync(folder).filter((name) => name.endsWith(".sql")).toSorted().map((name) => {
        // Git may check files out with other line ends: that is no change.
        const sql = fs.readFileSync(path.join(folder, name), "utf8").replaceAll("\r\n", "\n")
        return { name, sql, checksum: createHash("sha256").update(sql).digest("hex") }
      }),
    catch: (cause) => new MigrationFailed({ file: folder, line: 0, statement: "", problem: messageOf(cause) })
  })

const messageOf = (cause: unknown) => cause instanceof Error ? cause.message : String(cause)

const Row = Schema.Struct({ name: Schema.String, checksum: Schema.String, applied_at: Schema.Date })

/** The rows of the table, none if there is no table yet. */
const readApplied = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const [table] = yield* sql<{ readonly exists: boolean }>`SELECT to_regclass('conductor_migrations') IS NOT NULL AS "exists"`
  if (table?.exists !== true) return []
  const find = SqlSchema.findAll({
    Request: Schema.Void,
    Result: Row,
    execute: () => sql`SELECT name, checksum, applied_at FROM conductor_migrations ORDER BY name`
  })
  return yield* find().pipe(Effect.catchTag("SchemaError", Effect.die))
})

const compare = (migrations: ReadonlyArray<Migration>, rows: ReadonlyArray<typeof Row.Type>) => {
  for (const row of rows) {
    const migration = migrations.find((one) => one.name === row.name)
    if (migration === undefined) return Effect.fail(new MigrationVanished({ file: row.name }))
    if (migration.checksum !== row.checksum) return Effect.fail(new MigrationChanged({ file: row.name }))
  }
  return Effect.succeed(migrations.filter((one) => !rows.some((row) => row.name === one.name)))
}

/** Which files of a folder are applied and which are pending. Fails when an applied one was changed or vanished. */
export const status = Effect.fn("Migrations.status")(function*(folder: string = ownFolder) {
  const migrations = yield* load(folder)
  const rows = yield* readApplied
  const pending = yield* compare(migrations, rows)
  const result: Status = {
    applied: rows.map((row) => ({ name: row.name, appliedAt: row.applied_at })),
    pending: pending.map((one) => one.name)
  }
  return result
})

const field = (cause: unknown, name: "message" | "position" | "detail" | "hint"): string | undefined => {
  const value: unknown = cause instanceof Error ? Reflect.get(cause, name) : undefined
  return value === undefined ? undefined : String(value)
}

const failedAt = (file: string, line: number, text: string) => (error: SqlError): MigrationFailed | SqlError => {
  if (error.reason._tag === "ConnectionError") return error
  const cause = error.reason.cause
  const before = text.slice(0, Number(field(cause, "position") ?? 1) - 1)
  const parts = [field(cause, "message") ?? error.message, field(cause, "detail"), field(cause, "hint")]
  return new MigrationFailed({
    file,
    line: line + before.split("\n").length - 1,
    statement: text.replaceAll(/\s+/g, " ").slice(0, 300),
    problem: parts.filter((part) => part !== undefined).join("; ")
  })
}

const transactionControl = /^(begin|start\s+transaction|commit|end|rollback|abort|savepoint|release|prepare\s+transaction)\b/i

/** "conductor" as the key of the advisory lock that migrations of all processes share. */
const lockKey = 7165059

const apply = Effect.fnUntraced(function*(migration: Migration) {
  const sql = yield* SqlClient.SqlClient
  // Building an index may take longer than a statement of general use, and so may waiting for another process.
  yield* sql`SELECT set_config('statement_timeout', '0', true)`
  yield* sql`SELECT pg_advisory_xact_lock(${lockKey})`
  yield* sql`CREATE TABLE IF NOT EXISTS conductor_migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
  )`
  yield* sql`ALTER TABLE conductor_migrations ENABLE ROW LEVEL SECURITY`
  const rows = yield* readApplied
  const pending = yield* compare([migration], rows.filter((row) => row.name === migration.name))
  if (pending.length === 0) return false
  for (const { line, text } of statementsOf(migration.sql)) {
    if (transactionControl.test(text)) {
      const problem = "a file is one transaction: remove the transaction control"
      return yield* new MigrationFailed({ file: migration.name, line, statement: text.slice(0, 300), problem })
    }
    yield* Effect.mapError(sql.unsafe(text).unprepared, failedAt(migration.name, line, text))
  }
  yield* sql`INSERT INTO conductor_migrations ${sql.insert({ name: migration.name, checksum: migration.checksum })}`
  return true
})

/**
 * Applies the pending files of a folder, each in a transaction of its own, and returns their names. Several processes may do so at once.
 * Fails before applying anything when an applied file was changed or vanished.
 */
export const run = Effect.fn("Migrations.run")(function*(folder: string = ownFolder) {
  const sql = yield* SqlClient.SqlClient
  const migrations = yield* load(folder)
  const pending = yield* compare(migrations, yield* readApplied)
  return yield* Effect.filter(pending, (migration) => sql.withTransaction(apply(migration))).pipe(
    Effect.map((done) => done.map((migration) => migration.name))
  )
})
