import * as Context from "effect/Context"

/** What a request may take at most. */
export interface RequestLimits {
  /** Bytes of a body; 16 MiB by default, the longest text of a run with room for its escapes. */
  readonly bodyBytes: number
  /** Milliseconds until a body is there; 20 s by default. */
  readonly bodyMs: number
  /** Arrays and objects within each other; 64 by default. */
  readonly depth: number
  /** Bytes of all headers; 16 KiB by default. */
  readonly headerBytes: number
  /** Milliseconds until the headers are there; 10 s by default. */
  readonly headersMs: number
  /** Milliseconds after which a stream with nothing to say says so, and its reader's key is looked at again; 15 s by default. */
  readonly heartbeatMs: number
  /** Requests that only read and are answered at a time, the others wait; 6 by default, so that runs always have some of ten connections. */
  readonly reads: number
}

/** The limits of a server's requests. */
export const Limits = Context.Reference<RequestLimits>("conductor-ai/Server/Limits", {
  defaultValue: () => ({
    bodyBytes: 16 * 1024 * 1024, bodyMs: 20_000, depth: 64, headerBytes: 16 * 1024, headersMs: 10_000, heartbeatMs: 15_000, reads: 6
  })
})
