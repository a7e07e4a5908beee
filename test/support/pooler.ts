/**
 * A transaction pooler between a test and Postgres: pgbouncer where it is installed, and a double of it that gives every transaction
 * another connection than the one before, so that whatever a transaction left behind in its session would be seen by somebody else.
 */
import { Effect, Layer, Redacted, type Scope } from "effect"
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { Database, type DatabaseLayer } from "../../src/Database.ts"
import { freshPostgres, scratchPath } from "./databases.ts"
import { freePort } from "./server.ts"

/** The message of a protocol type with its body. */
const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5)
  head.write(type, 0, "latin1")
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const text = (...parts: ReadonlyArray<string>) => Buffer.from(parts.map((part) => `${part}\0`).join(""))

/** Takes bytes apart into whole messages; what is left over waits for more. */
const splitter = (onMessage: (type: string, whole: Buffer) => void) => {
  let rest: Buffer = Buffer.alloc(0)
  return (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes])
    while (rest.length >= 5) {
      const length = rest.readInt32BE(1) + 1
      if (rest.length < length) return
      const whole = rest.subarray(0, length)
      rest = rest.subarray(length)
      onMessage(whole.toString("latin1", 0, 1), whole)
    }
  }
}

interface Backend {
  readonly socket: net.Socket
  client: Client | undefined
}

interface Client {
  readonly socket: net.Socket
  readonly waiting: Array<Buffer>
  backend: Backend | undefined
  /** Answers that are still to come. */
  due: number
}

/** Opens a connection to the server, whose password method is that of the test servers: the password as it is. */
const connect = (url: URL) =>
  new Promise<{ readonly socket: net.Socket; readonly greeting: Buffer }>((resolve, reject) => {
    const socket = net.connect({ port: Number(url.port), host: url.hostname, noDelay: true })
    const greeting: Array<Buffer> = []
    const take = splitter((type, whole) => {
      if (type === "R" && whole.readInt32BE(5) === 3) socket.write(message("p", text(decodeURIComponent(url.password))))
      else if (type === "S") greeting.push(whole)
      else if (type === "E") reject(new Error(whole.toString("latin1")))
      else if (type === "Z") {
        socket.removeAllListeners("data")
        resolve({ socket, greeting: Buffer.concat(greeting) })
      }
    })
    socket.on("data", take)
    socket.on("error", reject)
    const parameters = Buffer.concat([Buffer.from([0, 3, 0, 0]), text("user", decodeURIComponent(url.username), "database", url.pathname.slice(1)), Buffer.from([0])])
    const length = Buffer.alloc(4)
    length.writeInt32BE(parameters.length + 4)
    socket.write(Buffer.concat([length, parameters]))
  })

/** How often a pooler gave a client another connection than the one that it had before. */
export interface Pooler {
  readonly url: string
  readonly moves: () => number
}

const asPooled = (url: URL, port: number): string => {
  const pooled = new URL(url)
  pooled.port = String(port)
  pooled.searchParams.set("pgbouncer", "true")
  return pooled.toString()
}

/** The double: a few connections, each transaction on the one that has rested longest. */
export const double = (address: string, size = 3) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const url = new URL(address)
      const opened = await Promise.all(Array.from({ length: size }, () => connect(url)))
      const queue: Array<Client> = []
      let moves = 0
      const idle: Array<Backend> = []
      const lastOf = new Map<Client, Backend>()
      const pump = () => {
        for (let client = queue[0]; client !== undefined; client = queue[0]) {
          const backend = idle.shift()
          if (backend === undefined) return
          queue.shift()
          if ((lastOf.get(client) ?? backend) !== backend) moves++
          lastOf.set(client, backend)
          backend.client = client
          client.backend = backend
          for (const bytes of client.waiting.splice(0)) backend.socket.write(bytes)
        }
      }
      const backends = opened.map(({ socket }) => {
        const backend: Backend = { socket, client: undefined }
        socket.on("error", () => {})
        socket.on("data", splitter((type, whole) => {
          const { client } = backend
          if (client === undefined) return
          client.socket.write(whole)
          if (type !== "Z" || --client.due > 0 || whole.toString("latin1", 5, 6) !== "I") return
          client.backend = undefined
          backend.client = undefined
          idle.push(backend)
          if (client.waiting.length > 0) queue.push(client)
          pump()
        }))
        idle.push(backend)
        return backend
      })
      const greeting = opened[0]?.greeting ?? Buffer.alloc(0)
      const server = net.createServer({ noDelay: true }, (socket) => {
        const client: Client = { socket, waiting: [], backend: undefined, due: 0 }
        const take = splitter((type, whole) => {
          if (type === "X") return void socket.end()
          if (type === "S" || type === "Q") client.due++
          if (client.backend !== undefined) return void client.backend.socket.write(whole)
          if (client.waiting.length === 0) queue.push(client)
          client.waiting.push(whole)
          pump()
        })
        socket.on("error", () => {})
        // A client that leaves in the middle of a transaction takes its connection with it, as pgbouncer does.
        socket.on("close", () => {
          client.backend?.socket.destroy()
          queue.splice(0, queue.length, ...queue.filter((other) => other !== client))
        })
        socket.once("data", (startup) => {
          const isCancel = startup.length === 16 && startup.readInt32BE(4) === 80877102
          if (isCancel) return void socket.end()
          socket.write(Buffer.concat([
            message("R", Buffer.alloc(4)), greeting, message("K", Buffer.alloc(8)), message("Z", Buffer.from("I"))
          ]))
          socket.on("data", take)
        })
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const at = server.address()
      if (at === null || typeof at === "string") throw new Error("no port")
      return { url: asPooled(url, at.port), moves: () => moves, server, backends }
    }),
    ({ backends, server }) =>
      Effect.sync(() => {
        server.close()
        for (const { socket } of backends) socket.destroy()
      })
  )

/** Where pgbouncer is, if it is installed. */
export const pgbouncer: string | undefined = (() => {
  try {
    return execFileSync("which", ["pgbouncer"], { encoding: "utf8", env: { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin` } }).trim()
  } catch {
    return undefined
  }
})()

/** pgbouncer in transaction mode, with three connections to the server. */
export const bouncer = (program: string, address: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const url = new URL(address)
      const port = await freePort()
      const dir = scratchPath("pgbouncer")
      fs.mkdirSync(dir, { mode: 0o755 })
      const users = path.join(dir, "users.txt")
      fs.writeFileSync(users, `"${decodeURIComponent(url.username)}" "${decodeURIComponent(url.password)}"\n`)
      const config = path.join(dir, "pgbouncer.ini")
      fs.writeFileSync(config, [
        "[databases]", `* = host=${url.hostname} port=${url.port}`, "[pgbouncer]", "listen_addr = 127.0.0.1", `listen_port = ${port}`,
        "unix_socket_dir =", "auth_type = plain", `auth_file = ${users}`, "pool_mode = transaction", "default_pool_size = 3",
        "server_round_robin = 1", "max_client_conn = 100"
      ].join("\n"))
      // It does not want to be root.
      const user = process.getuid?.() === 0 ? ["-u", "nobody"] : []
      const child = spawn(program, ["-q", ...user, config], { stdio: "ignore" })
      for (let attempt = 0;; attempt++) {
        const isUp = await new Promise<boolean>((resolve) => {
          const probe = net.connect(port, "127.0.0.1", () => {
            probe.destroy()
            resolve(true)
          })
          probe.on("error", () => resolve(false))
        })
        if (isUp) break
        if (attempt === 100 || child.exitCode !== null) throw new Error("pgbouncer does not start")
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      return { url: asPooled(url, port), child }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

/** A Postgres behind a pooler, migrated through it. */
export const pooled = (open: (url: string) => Effect.Effect<{ readonly url: string }, never, Scope.Scope>): DatabaseLayer =>
  Layer.unwrap(Effect.gen(function*() {
    const { url } = yield* freshPostgres({ template: false })
    return Database.layerPostgres({ url: Redacted.make((yield* open(Redacted.value(url))).url) })
  }))
