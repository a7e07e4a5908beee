import { createHash, timingSafeEqual } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Hex from "effect/encoding/Hex"
import * as RateLimiter from "effect/persistence/RateLimiter"
import { SignedOut } from "../Api.ts"
import { CurrentPrincipal, keyOf, KeyRate, Keys, RateLimited } from "../Org.ts"
import type { OrgId, StorageFailed } from "../Run.ts"

/** Milliseconds for which a ticket is good. */
export const ticketLife = 10 * 60_000

/** Milliseconds for which a browser is signed in. */
export const browserLife = 12 * 3_600_000

/** How many of a kind an organisation has at a time; with one more the oldest goes. */
const most = 100

/** Whom something lets in. */
export interface Pass {
  /** Names it, and is no secret. */
  readonly id: string
  readonly org: OrgId
  /** On whose behalf. */
  readonly by: string
}

interface Kept {
  readonly pass: Pass
  readonly hash: Uint8Array
  readonly until: number
}

const hashOf = (text: string): Uint8Array => createHash("sha256").update(text).digest()

/** What a secret is compared with that nothing is known of. */
const nobody = hashOf("")

/**
 * Passes that are good for some time, in this process alone. A secret is the id of its pass, a dot, and 192 bits of chance, of which
 * only the SHA-256 is kept.
 */
const makePasses = (random: SecureRandom.SecureRandom["Service"], life: number) => {
  const kept = new Map<string, Kept>()

  const make = Effect.fnUntraced(function*({ by, org }: Omit<Pass, "id">) {
    const now = yield* Clock.currentTimeMillis
    const id = Hex.encode(yield* random.randomBytes(8))
    const chance = Hex.encode(yield* random.randomBytes(24))
    // A map keeps the order in which they were made.
    for (const [id, { until }] of kept) if (until <= now) kept.delete(id)
    const ofOrg = [...kept.values()].filter(({ pass }) => pass.org === org)
    if (ofOrg.length >= most) kept.delete(ofOrg[0]?.pass.id ?? "")
    const pass: Pass = { id, org, by }
    kept.set(id, { pass, hash: hashOf(chance), until: now + life })
    return { pass, secret: Redacted.make(`${id}.${chance}`) }
  })

  /** The pass that a text is the secret of. */
  const find = (text: Redacted.Redacted) =>
    Effect.map(Clock.currentTimeMillis, (now): Pass | undefined => {
      const [id = "", chance = ""] = Redacted.value(text).slice(0, 200).split(".")
      const found = kept.get(id)
      const isSame = timingSafeEqual(hashOf(chance), found?.hash ?? nobody)
      return found !== undefined && isSame && found.until > now ? found.pass : undefined
    })

  /** The same, which is then no longer good. */
  const take = (text: Redacted.Redacted) =>
    Effect.map(find(text), (pass) => pass !== undefined && kept.delete(pass.id) ? pass : undefined)

  return { make, find, take }
}

/** A browser that was let in just now. */
export interface Entered {
  readonly browser: Pass
  /** What it proves itself with from now on. */
  readonly cookie: Redacted.Redacted
}

/** A browser as runs and the audit trail name it. */
export const principalOf = ({ id }: Pick<Pass, "id">): string => `dashboard:${id}`

/** Lets browsers in: each with a ticket of its own, from this process, and until this process ends. */
export class Tickets extends Context.Service<Tickets, {
  /** A ticket for an organisation, good for ten minutes and for one browser, in the name of the current principal. */
  readonly issue: (org: OrgId) => Effect.Effect<Redacted.Redacted>
  /** Takes a ticket for good and lets a browser in, for twelve hours. */
  readonly trade: (ticket: Redacted.Redacted) => Effect.Effect<Entered, SignedOut | StorageFailed>
  /** The browser that has this cookie. One that was let in on behalf of a key is let out with that key. */
  readonly find: (cookie: Redacted.Redacted) => Effect.Effect<Pass, SignedOut | StorageFailed>
  /** Counts a request of a browser against what a key may ask for in a minute. */
  readonly admit: (browser: Pass) => Effect.Effect<void, RateLimited>
  /** Signs a browser out. Again is harmless. */
  readonly end: (cookie: Redacted.Redacted) => Effect.Effect<void>
}>()("conductor-ai/Server/Tickets") {
  static readonly layer = Layer.effect(Tickets, Effect.gen(function*() {
    const random = yield* SecureRandom.SecureRandom
    const keys = yield* Keys
    const tickets = makePasses(random, ticketLife)
    const browsers = makePasses(random, browserLife)

    const limit = yield* KeyRate
    const limiter = yield* Effect.provide(RateLimiter.make, RateLimiter.layerStoreMemory)

    const stands = ({ by, org }: Pass) => {
      const key = keyOf(by)
      return key === undefined ? Effect.succeed(true) : keys.stands(org, key)
    }

    return Tickets.of({
      issue: Effect.fn("Tickets.issue")(function*(org) {
        const { secret } = yield* tickets.make({ org, by: yield* CurrentPrincipal })
        return secret
      }),
      trade: Effect.fn("Tickets.trade")(function*(ticket) {
        const taken = yield* tickets.take(ticket)
        if (taken === undefined || !(yield* stands(taken))) return yield* new SignedOut({ reason: "ticket" })
        const { pass, secret } = yield* browsers.make(taken)
        return { browser: pass, cookie: secret }
      }),
      find: Effect.fn("Tickets.find")(function*(cookie) {
        const pass = yield* browsers.find(cookie)
        if (pass === undefined || !(yield* stands(pass))) return yield* new SignedOut({ reason: "cookie" })
        return pass
      }),
      admit: ({ id }) =>
        limiter.consume({ algorithm: "token-bucket", onExceeded: "fail", window: "1 minute", limit, key: id }).pipe(
          Effect.catchReason(
            "RateLimiterError",
            "RateLimitExceeded",
            ({ retryAfter }) => Effect.fail(new RateLimited({ limit, retryAfterMs: Math.ceil(Duration.toMillis(retryAfter)) })),
            // The counts are in the memory of this process, where nothing can fail.
            Effect.die
          ),
          Effect.asVoid
        ),
      end: Effect.fn("Tickets.end")((cookie) => Effect.asVoid(browsers.take(cookie)))
    })
  }))
}
