/** A Postgres of its own for a measurement: on a random port of the loopback, in a folder that goes with it, as safe as a server is. */
import { Redacted } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { makeServer } from "../support/server.ts"

/** A server that runs. */
export interface Server {
  /** The URL of a new, empty database. */
  readonly database: () => Promise<Redacted.Redacted>
  readonly stop: () => Promise<void>
}

/** A folder that goes with the process. */
export const scratch = (): string => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "conductor-bench-"))
  // The server runs as another user when this runs as root.
  fs.chmodSync(folder, 0o755)
  process.once("exit", () => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Starts a server with what Postgres has by default, `fsync` and `synchronous_commit` on, but room for two minutes of log. */
export const start = async (): Promise<Server> => {
  const server = await makeServer(path.join(scratch(), "postgres"), [
    "fsync=on", "synchronous_commit=on", "max_wal_size=4GB", "shared_buffers=512MB", "max_connections=50"
  ])
  await server.start()
  let count = 0
  return {
    database: async () => {
      const name = `bench_${++count}`
      await server.createDatabase(name)
      return Redacted.make(server.urlOf(name))
    },
    stop: () => server.stop()
  }
}
