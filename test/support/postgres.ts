/**
 * What is made once for a run of the tests: a migrated data directory of the embedded database, and a Postgres with a migrated template
 * database. Both are gone when the run is over, even when it failed.
 */
import { Effect, Layer, Redacted } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { TestProject } from "vitest/node"
import { Database } from "../../src/Database.ts"
import { ownFolder } from "../../src/Database/Migrations.ts"
import { seedOf } from "./chance.ts"
import { makeServer } from "./server.ts"

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
    /** What all chance in the tests follows from; another by `CONDUCTOR_SEED`. */
    readonly seed: string
  }
}

/** Bytes that both databases of a run of the tests have at most, with room to spare. */
const room = 6 * 2 ** 30

/** Where databases are made for the tests: in memory, where there is room, because one is copied there in a twentieth of the time. */
const roomiest = (): string => {
  const memory = "/dev/shm"
  const { bavail, bsize } = fs.existsSync(memory) ? fs.statfsSync(memory) : { bavail: 0, bsize: 0 }
  return bavail * bsize > room && process.availableMemory() > room ? memory : os.tmpdir()
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Takes away what runs of the tests have left behind that were killed more than an hour ago: it may take up memory. */
const sweep = (root: string): void => {
  for (const name of fs.readdirSync(root)) {
    const pid = /^conductor-test-(\d+)-/.exec(name)?.[1]
    const left = path.join(root, name)
    if (pid === undefined || isAlive(Number(pid)) || Date.now() - fs.statSync(left).mtimeMs < 3_600_000) continue
    fs.rmSync(left, { recursive: true, force: true })
  }
}

export default async function setup(project: TestProject) {
  const seed = seedOf(process.env["CONDUCTOR_SEED"])
  if (seed !== seedOf(undefined)) console.log(`All chance follows from CONDUCTOR_SEED=${seed}`)
  const root = roomiest()
  sweep(root)
  const scratch = fs.mkdtempSync(path.join(root, `conductor-test-${process.pid}-`))
  // The server runs as another user when the tests run as root.
  fs.chmodSync(scratch, 0o755)
  // What a process of a test has compiled, the next ones need not: half of the time of their start.
  process.env["NODE_COMPILE_CACHE"] ??= path.join(scratch, "compiled")
  // Nothing of a test needs to survive a power loss.
  const server = await makeServer(path.join(scratch, "postgres"), ["fsync=off", "full_page_writes=off", "max_connections=200"])
  const teardown = async () => {
    await server.stop()
    fs.rmSync(scratch, { recursive: true, force: true })
  }
  try {
    await server.start()
    await server.createDatabase("conductor_template")
    const migrations = path.join(scratch, "sql")
    fs.cpSync(ownFolder, migrations, { recursive: true })
    const migrate = { folder: migrations }
    const embeddedTemplate = path.join(scratch, "embedded-template")
    const build = (layer: Layer.Layer<Database, unknown>) => Effect.runPromise(Effect.scoped(Layer.build(layer)))
    await Promise.all([
      build(Database.layerPostgres({ url: Redacted.make(server.urlOf("conductor_template")), migrate })),
      build(Database.layerEmbedded({ dir: embeddedTemplate, fsync: false, migrate }))
    ])
    project.provide("postgresUrl", server.urlOf("postgres"))
    project.provide("embeddedTemplate", embeddedTemplate)
    project.provide("migrations", migrations)
    project.provide("scratch", scratch)
    project.provide("seed", seed)
  } catch (cause) {
    await teardown()
    throw cause
  }
  return teardown
}
