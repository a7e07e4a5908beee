import { Duplex } from "node:stream"
import type { Backend, Loss } from "./Backend.ts"

/**
 * What the Postgres driver takes for a socket, with the embedded database at its other end.
 *
 * A class over node:stream rather than an Effect: the driver calls it synchronously and expects a socket. Each instance is one session;
 * the driver opens another one to send a `CancelRequest`, as it would to a server.
 */
export class EmbeddedDuplex extends Duplex {
  private readonly backend: Backend
  private readonly detach: () => void
  private pending: Uint8Array = new Uint8Array(0)
  private started = false
  private running = false

  constructor(backend: Backend) {
    // `allowHalfOpen: false` would end the writing side with the reading side: the driver then gets an error instead of a close.
    super({ allowHalfOpen: true })
    this.backend = backend
    this.detach = backend.attach({ onLoss: (loss) => this.lose(loss) })
  }

  override _read(): void {
    this.backend.resume()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    const bytes = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk])
    const whole = wholeMessages(bytes, this.started)
    // A copy: the driver may use its buffer again once the callback is called.
    this.pending = new Uint8Array(bytes.subarray(whole))
    if (whole === 0) return callback()
    const messages = bytes.subarray(0, whole)
    if (this.started) return this.execute(messages, callback)
    const kind = messages.length >= 8 ? Buffer.from(messages).readInt32BE(4) : 0
    if (kind === cancelRequest) {
      this.backend.cancel()
      callback()
      this.destroy()
      return
    }
    if (kind === sslRequest || kind === gssRequest) {
      this.push(Buffer.from("N"))
      return callback()
    }
    this.started = true
    this.backend.open().then(() => {
      // The thread may have served a session before: this one begins as a new one would.
      this.submit(freshSession, () => true, (loss) => loss === undefined ? this.execute(messages, callback) : callback())
    }, callback)
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.push(null)
    callback()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.detach()
    // Nobody waits any more for what is running.
    if (this.running) this.backend.cancel()
    this.backend.resume()
    callback(error)
  }

  private execute(messages: Uint8Array, callback: (error?: Error | null) => void): void {
    // The driver says goodbye: the session is over, the database is not.
    if (messages[0] === terminate) return callback()
    this.submit(messages, (bytes) => this.destroyed || this.push(bytes), () => callback())
  }

  private submit(bytes: Uint8Array, onData: (bytes: Uint8Array) => boolean, onEnd: (loss: Loss | undefined) => void): void {
    this.running = true
    this.backend.submit({
      bytes,
      onData,
      onEnd: (loss) => {
        this.running = false
        if (loss !== undefined) this.lose(loss)
        onEnd(loss)
      }
    })
  }

  private lose(loss: Loss): void {
    this.destroy(new LossError(loss))
  }
}

/** The error of a session that ended with the database thread: the driver hands it on as the cause of its `ConnectionError`. */
export class LossError extends Error {
  readonly loss: Loss
  constructor(loss: Loss) {
    super(loss.message)
    this.loss = loss
  }
}

const cancelRequest = 80877102
const sslRequest = 80877103
const gssRequest = 80877104
const terminate = 0x58

/** How many of the bytes are whole messages. Before the session has started, messages carry no type byte. */
export const wholeMessages = (bytes: Uint8Array, started: boolean): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const header = started ? 1 : 0
  let offset = 0
  while (offset + header + 4 <= bytes.length) {
    const end = offset + header + view.getInt32(offset + header)
    if (end > bytes.length || end <= offset) break
    offset = end
    if (!started) break
  }
  return offset
}

const message = (type: string, body: Uint8Array): Buffer => {
  const head = Buffer.alloc(5)
  head.write(type, 0, "latin1")
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const query = (sql: string) => message("Q", Buffer.from(`${sql}\0`))

/** `Sync` ends an extended query that was given up in the middle; DISCARD is refused in a transaction, so ROLLBACK is a message of its own. */
const freshSession = Buffer.concat([message("S", Buffer.alloc(0)), query("ROLLBACK"), query("DISCARD ALL")])
