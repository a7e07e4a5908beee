/**
 * The thread that holds PGlite: it executes protocol messages one after the other and sends the answers back.
 *
 * Nothing of Effect is loaded here: while a statement runs, WebAssembly owns the thread, and no timer, fiber or message of it can run.
 * The main thread therefore keeps the clock (`Backend.ts`), and ends this thread when a statement overruns.
 */
import { PGlite } from "@electric-sql/pglite"
import type { PGliteOptions } from "@electric-sql/pglite"
import { NodeFS } from "@electric-sql/pglite/nodefs"
import * as fs from "node:fs"
import * as path from "node:path"
import { parentPort, workerData } from "node:worker_threads"

/** How the thread opens the database. */
export interface Settings {
  readonly "conductor-ai/Database/EmbeddedWorker": true
  /** The directory of the data files; `undefined` keeps them in the thread's memory. */
  readonly dataDir: string | undefined
  /** A tar file of a data directory (`dumpDataDir`) to begin with. */
  readonly load: Uint8Array<ArrayBuffer> | undefined
  /** Whether a commit waits until the operating system has written its log to the disk. */
  readonly fsync: boolean
  /** Bytes sent and bytes consumed, as counters that wrap: what keeps a large answer from piling up in the main thread. */
  readonly flow: SharedArrayBuffer
  /** PGlite's code as a module of WebAssembly, where this process has compiled it; else PGlite compiles it. */
  readonly code: object | undefined
}

/** What the main thread asks. */
export type Request =
  | { readonly tag: "Exec"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly tag: "Dump" }
  | { readonly tag: "Close" }

/** What the thread answers. `Exec` is answered by any number of `Data` and one `Done`. */
export type Answer =
  | { readonly tag: "Ready" }
  | { readonly tag: "Data"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly tag: "Done" }
  | { readonly tag: "Dumped"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly tag: "Closed" }
  | { readonly tag: "Failed"; readonly message: string }

/** The part of a message port that is used, so that a test can serve over a channel in its own thread. */
export interface Port {
  postMessage(answer: Answer, transfer?: Array<ArrayBuffer>): void
  on(event: "message", listener: (request: Request) => void): unknown
}

/** Answers are gathered to this size before they are posted. */
const chunkBytes = 256 * 1024
/** Bytes that may be under way to the main thread before this one waits for them to be consumed. */
const windowBytes = 4 * 1024 * 1024

/** The parts of Emscripten's file system that PGlite does not type. */
interface NodeFileSystem {
  readonly stream_ops: { fsync?: (stream: { readonly nfd?: number; readonly node: object }) => number }
  readonly realPath: (node: object) => string
}

const syncPath = (file: string) => {
  const handle = fs.openSync(file, "r")
  try {
    fs.fsyncSync(handle)
  } finally {
    fs.closeSync(handle)
  }
}

/** PGlite's file system over node:fs, whose `fsync` reaches the disk: the original has none and reports success. */
class DurableFS extends NodeFS {
  override async init(...args: Parameters<NodeFS["init"]>) {
    const { emscriptenOpts } = await super.init(...args)
    const mount: NonNullable<typeof emscriptenOpts.preRun>[number] = (module) => {
      // Sound: with a NodeFS, the module's NODEFS is Emscripten's, which has these two members.
      const nodeFileSystem = module.NODEFS as unknown as NodeFileSystem
      nodeFileSystem.stream_ops.fsync = (stream) => {
        // A directory is opened without a descriptor.
        if (stream.nfd === undefined) syncPath(nodeFileSystem.realPath(stream.node))
        else fs.fsyncSync(stream.nfd)
        return 0
      }
    }
    return { emscriptenOpts: { ...emscriptenOpts, preRun: [...(emscriptenOpts.preRun ?? []), mount] } }
  }
}

/** Writes a freshly made data directory to the disk, of which PGlite has only written copies to the operating system. */
const syncTree = (dir: string) => {
  for (const entry of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
    syncPath(path.join(entry.parentPath, entry.name))
  }
  syncPath(dir)
}

const open = async (settings: Settings) => {
  const options: PGliteOptions = {
    ...(settings.code === undefined ? {} : { pgliteWasmModule: settings.code }),
    ...(settings.load === undefined ? {} : { loadDataDir: new Blob([settings.load]) })
  }
  if (settings.dataDir === undefined) return PGlite.create(options)
  const fresh = !fs.existsSync(path.join(settings.dataDir, "PG_VERSION"))
  if (!settings.fsync) return PGlite.create({ ...options, fs: new NodeFS(settings.dataDir) })
  const pg = await PGlite.create({
    ...options,
    fs: new DurableFS(settings.dataDir),
    // `-F` is PGlite's way to turn fsync off; Emscripten's fdatasync, the default for the log, does nothing.
    startParams: [...PGlite.defaultStartParams.filter((param) => param !== "-F"), "-c", "wal_sync_method=fsync"]
  })
  if (fresh) syncTree(settings.dataDir)
  return pg
}

const messageOf = (cause: unknown) => cause instanceof Error ? cause.message : String(cause)

/** Opens the database and answers every request of the port in order. Resolves when the database is open or has failed to. */
export const serve = async (port: Port, settings: Settings): Promise<void> => {
  const flow = new Uint32Array(settings.flow)
  let pg: PGlite
  try {
    pg = await open(settings)
  } catch (cause) {
    port.postMessage({ tag: "Failed", message: messageOf(cause) })
    return
  }

  let gathered: Array<Uint8Array> = []
  let size = 0
  const flush = () => {
    if (size === 0) return
    const bytes = new Uint8Array(size)
    let offset = 0
    for (const piece of gathered) {
      bytes.set(piece, offset)
      offset += piece.length
    }
    gathered = []
    size = 0
    const sent = Atomics.add(flow, 0, bytes.length) + bytes.length
    port.postMessage({ tag: "Data", bytes }, [bytes.buffer])
    for (;;) {
      const consumed = Atomics.load(flow, 1)
      if (((sent - consumed) >>> 0) <= windowBytes) return
      // The time-out only guards against a wake-up that was missed.
      Atomics.wait(new Int32Array(settings.flow), 1, consumed | 0, 1000)
    }
  }
  const answer = async (request: Request): Promise<Answer> => {
    switch (request.tag) {
      case "Exec":
        await pg.execProtocolRawStream(request.bytes, {
          onRawData: (bytes) => {
            // A view of WebAssembly's memory: it must be copied before the next instruction there.
            gathered.push(bytes.slice())
            size += bytes.length
            if (size >= chunkBytes) flush()
          }
        })
        flush()
        return { tag: "Done" }
      case "Dump":
        return { tag: "Dumped", bytes: new Uint8Array(await (await pg.dumpDataDir("none")).arrayBuffer()) }
      case "Close":
        await pg.close()
        return { tag: "Closed" }
    }
  }
  let last = Promise.resolve()
  port.on("message", (request) => {
    last = last.then(async () => {
      try {
        port.postMessage(await answer(request))
      } catch (cause) {
        port.postMessage({ tag: "Failed", message: messageOf(cause) })
      }
    })
  })
  port.postMessage({ tag: "Ready" })
}

const isSettings = (data: unknown): data is Settings =>
  typeof data === "object" && data !== null && "conductor-ai/Database/EmbeddedWorker" in data

// A test imports this module too: only the thread that was started for it serves.
if (parentPort !== null && isSettings(workerData)) {
  // In Node, the listener of a thread's own port gets exactly what its parent posts, and only `Backend.ts` posts to it.
  await serve(parentPort, workerData)
}
