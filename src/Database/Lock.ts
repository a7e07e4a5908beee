import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as fs from "node:fs"
import * as path from "node:path"

/** Who holds a data directory: the content of its lock file. */
export const Holder = Schema.Struct({
  pid: Schema.Int,
  /** When the holder's process started, in the kernel's own count, so that a number that was given again is not mistaken for it. */
  process: Schema.NullOr(Schema.String),
  /** Where the holder answers commands on the loopback interface, when it does. */
  address: Schema.NullOr(Schema.String),
  /** What such a command must carry. */
  token: Schema.NullOr(Schema.String)
})
export type Holder = typeof Holder.Type

/** Another process has the directory open. */
export class DirectoryLocked extends Schema.TaggedError<DirectoryLocked>()("DirectoryLocked", {
  dir: Schema.String,
  pid: Schema.Int,
  address: Schema.NullOr(Schema.String)
}) {
  override get message() {
    const serves = this.address === null ? "" : `, which serves it at ${this.address}`
    return `The data directory ${this.dir} is in use by process ${this.pid}${serves}: stop it, set CONDUCTOR_DATA_DIR to another directory, or set DATABASE_URL to a Postgres that many processes can share.`
  }
}

/** The directory cannot be used. */
export class DirectoryUnusable extends Schema.TaggedError<DirectoryUnusable>()("DirectoryUnusable", {
  dir: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `The data directory ${this.dir} cannot be written (${this.problem}): set CONDUCTOR_DATA_DIR to a directory that this user may write to.`
  }
}

/** A held directory. */
export interface Lock {
  /** Tells other processes where the holder answers commands. The file is readable by its user only. */
  readonly announce: (address: string, token: string) => Effect.Effect<void, DirectoryUnusable>
}

const lockFile = (dir: string) => path.join(dir, "conductor.lock")

/** Directories that this process holds, because its own pid in a lock file may also be that of a process that is long dead. */
const heldHere = new Set<string>()

const decodeHolder = Schema.decodeUnknownOption(Schema.fromJsonString(Holder))

const codeOf = (cause: unknown) => Predicate.hasProperty(cause, "code") ? String(cause.code) : String(cause)

/** The start time of a process, where the system tells it (Linux), else null. */
const startOf = (pid: number): string | null => {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    // The second field is a file name in parentheses, which may contain anything; the 22nd field is the start time.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null
  } catch {
    return null
  }
}

const isAlive = (holder: Holder, dir: string): boolean => {
  if (holder.pid === process.pid) return heldHere.has(dir)
  try {
    process.kill(holder.pid, 0)
  } catch (cause) {
    // EPERM: it lives, and belongs to somebody else.
    if (codeOf(cause) !== "EPERM") return false
  }
  const started = startOf(holder.pid)
  return holder.process === null || started === null || started === holder.process
}

const read = (file: string): Option.Option<Holder> => {
  try {
    return decodeHolder(fs.readFileSync(file, "utf8"))
  } catch {
    return Option.none()
  }
}

/** Who holds the directory now, if anybody does. For commands that forward themselves to the holder, and for doctor. */
export const holderOf = (dir: string): Effect.Effect<Option.Option<Holder>> =>
  Effect.sync(() => Option.filter(read(lockFile(path.resolve(dir))), (holder) => isAlive(holder, path.resolve(dir))))

/** Milliseconds after which a guard or an unreadable lock file counts as left behind: both exist for an instant only. */
const leftBehind = 5000

const isOlderThan = (file: string, now: number) => {
  try {
    return now - fs.statSync(file).mtimeMs > leftBehind
  } catch {
    return false
  }
}

/** Not `mkdirSync` with `recursive`: that spins for ever where a file system answers ENOENT to a new directory, as /proc does. */
const makeDirectory = (dir: string): void => {
  if (fs.existsSync(dir)) return
  makeDirectory(path.dirname(dir))
  try {
    fs.mkdirSync(dir)
  } catch (cause) {
    if (codeOf(cause) !== "EEXIST") throw cause
  }
}

/** What came of one try: the lock, its living holder, or another try later. */
type Attempt = "Held" | "Retry" | Holder

const attempt = (dir: string, now: number): Attempt => {
  const file = lockFile(dir)
  const guard = `${file}.takeover`
  const mine: Holder = { pid: process.pid, process: startOf(process.pid), address: null, token: null }
  const create = () => {
    try {
      fs.writeFileSync(file, JSON.stringify(mine), { flag: "wx", mode: 0o600 })
      return true
    } catch (cause) {
      if (codeOf(cause) === "EEXIST") return false
      throw cause
    }
  }
  const stale = () => {
    const holder = read(file)
    if (Option.isSome(holder)) return isAlive(holder.value, dir) ? holder.value : true
    // Empty or torn: another process is writing it now, or died while it did.
    return isOlderThan(file, now)
  }
  if (create()) return "Held"
  const found = stale()
  if (typeof found === "object") return found
  if (!found) return "Retry"
  // Only one process may replace a stale file, and only one that is still stale then; otherwise two could remove each other's.
  try {
    fs.mkdirSync(guard)
  } catch (cause) {
    if (codeOf(cause) !== "EEXIST") throw cause
    if (isOlderThan(guard, now)) fs.rmSync(guard, { recursive: true, force: true })
    return "Retry"
  }
  try {
    const again = stale()
    if (typeof again === "object") return again
    if (again) fs.rmSync(file, { force: true })
    return create() ? "Held" : "Retry"
  } finally {
    fs.rmSync(guard, { recursive: true, force: true })
  }
}

/**
 * Holds a data directory for this process until the scope closes, making the directory if it is missing. The lock of a process that is
 * dead is taken over. Fails with `DirectoryLocked` or `DirectoryUnusable`.
 */
export const acquire = Effect.fn("Database.lock")(function*(directory: string) {
  const dir = path.resolve(directory)
  const unusable = (cause: unknown) => new DirectoryUnusable({ dir, problem: codeOf(cause) })
  const hold = Effect.gen(function*() {
    yield* Effect.try({ try: () => makeDirectory(dir), catch: unusable })
    for (;;) {
      const now = yield* Clock.currentTimeMillis
      const result = yield* Effect.try({ try: () => attempt(dir, now), catch: unusable })
      if (result === "Held") {
        heldHere.add(dir)
        return
      }
      if (result !== "Retry") return yield* new DirectoryLocked({ dir, pid: result.pid, address: result.address })
      yield* Effect.sleep("50 millis")
    }
  })
  yield* Effect.acquireRelease(hold, () =>
    Effect.sync(() => {
      heldHere.delete(dir)
      fs.rmSync(lockFile(dir), { force: true })
    }), { interruptible: true })
  const lock: Lock = {
    announce: Effect.fn("Database.announce")((address: string, token: string) =>
      Effect.try({
        try: () => {
          const holder: Holder = { pid: process.pid, process: startOf(process.pid), address, token }
          const temporary = `${lockFile(dir)}.${process.pid}`
          fs.writeFileSync(temporary, JSON.stringify(holder), { mode: 0o600 })
          fs.renameSync(temporary, lockFile(dir))
        },
        catch: unusable
      })
    )
  }
  return lock
})
