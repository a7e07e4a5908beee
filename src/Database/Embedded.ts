import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as path from "node:path"
import { Backend, EmbeddedError } from "./Backend.ts"
import { forEmbedded, maxMessageSize } from "./Client.ts"
import { EmbeddedDuplex } from "./Duplex.ts"
import * as Lock from "./Lock.ts"

/** How long one statement may take in the embedded database before its thread is ended and opened anew. Default 30 seconds. */
export const StatementDeadline = Context.Reference<Duration.Duration>("conductor-ai/Database/StatementDeadline", {
  defaultValue: () => Duration.seconds(30)
})

/** How long an interrupted statement of the embedded database may go on before its thread is ended. Default 250 milliseconds. */
export const CancelGrace = Context.Reference<Duration.Duration>("conductor-ai/Database/CancelGrace", {
  defaultValue: () => Duration.millis(250)
})

/** Where the embedded database keeps its data. */
export interface Options {
  /** The directory, made if missing. Without one the data is in memory, and ends with its thread (so also with an overrun statement). */
  readonly dir?: string | undefined
  /**
   * Whether a commit waits for the disk. Default true: commits then survive a power loss; without it they survive the end of the process
   * only. Measured on a virtual disk: 200 commits in 0.44 s with it, 0.11 to 0.17 s without. Meaningless in memory.
   */
  readonly fsync?: boolean | undefined
  /** A dump of a data directory to begin with, in a directory only when that is new. */
  readonly load?: Uint8Array<ArrayBuffer> | undefined
}

/** The open embedded database. */
export interface Embedded {
  readonly client: PgClient.PgClient
  /** The directory, or `memory`. */
  readonly where: string
  readonly fsync: boolean
  /** Present when the data is in a directory. */
  readonly lock: Lock.Lock | undefined
  /** How often the database was opened: more than once means that a statement overran or the thread crashed. */
  readonly generations: Effect.Effect<number>
  /** A tar file of the data directory, for `load`. Fails while a statement is under way. */
  readonly dump: Effect.Effect<Uint8Array<ArrayBuffer>, EmbeddedError>
}

const problem = (where: string) => (cause: unknown) =>
  cause instanceof EmbeddedError ? cause : new EmbeddedError({ where, problem: `cannot be used (${String(cause)})`, remedy: "try again" })

/** A client over a database thread, for the life of the scope. When the thread ends, its next statement starts another one. */
export const clientOf = Effect.fnUntraced(function*(backend: Backend) {
  const client = yield* PgClient.make({
    stream: () => new EmbeddedDuplex(backend),
    host: "embedded",
    username: "postgres",
    database: "postgres",
    ssl: false,
    maxMessageSize,
    // PGlite has one session. A pool of one, rather than one connection, opens another session when the thread was ended.
    maxConnections: 1,
    // Closing an idle session frees nothing, and its prepared statements would be lost.
    idleTimeout: Duration.days(1),
    // Reopening a database after a crash replays its log.
    connectTimeout: Duration.seconds(60)
  })
  return yield* forEmbedded(client)
})

/**
 * Opens the embedded database for the life of the scope: it is locked for this process, its thread is started, and closed at the end.
 * First start of a directory 3 s (it is made then), later ones 0.4 s, measured on two shared cores.
 */
export const make = Effect.fn("Embedded.make")(function*(options: Options) {
  const dir = options.dir === undefined ? undefined : path.resolve(options.dir)
  const where = dir ?? "memory"
  const lock = dir === undefined ? undefined : yield* Lock.acquire(dir)
  const fsync = dir !== undefined && (options.fsync ?? true)
  const backend = new Backend({
    where,
    settings: { dataDir: dir === undefined ? undefined : path.join(dir, "pgdata"), load: options.load, fsync },
    deadline: Duration.toMillis(yield* StatementDeadline),
    cancelGrace: Duration.toMillis(yield* CancelGrace)
  })
  yield* Effect.acquireRelease(
    Effect.tryPromise({ try: () => backend.open(), catch: problem(where) }),
    () => Effect.promise(() => backend.close())
  )
  const embedded: Embedded = {
    client: yield* clientOf(backend),
    where,
    fsync,
    lock,
    generations: Effect.sync(() => backend.generations),
    dump: Effect.tryPromise({ try: () => backend.dump(), catch: problem(where) })
  }
  return embedded
})
