import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import * as HttpMethod from "effect/http/HttpMethod"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import { Authorization, BadRequest, Forbidden, KeyMissing, Needs, RequestTimeout } from "../Api.ts"
import { allows, CurrentOrg, CurrentPrincipal, Keys, principalOf, type Scope } from "../Org.ts"
import { checkOrigin, cookieOf } from "./Browser.ts"
import { Limits } from "./Limits.ts"
import { isAbout, Standing } from "./Request.ts"
import { principalOf as browserOf, Tickets } from "./Ticket.ts"

/** True where arrays and objects of a JSON text are within each other more often than that. */
const isDeeper = (text: string, most: number): boolean => {
  let depth = 0
  let inText = false
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (inText) {
      if (code === 92) index++
      else if (code === 34) inText = false
    } else if (code === 34) inText = true
    else if (code === 91 || code === 123) {
      if (++depth > most) return true
    } else if (code === 93 || code === 125) depth--
  }
  return false
}

const unusable = (message: string) => new BadRequest({ problems: [{ path: ["payload"], message }] })

/** Reads the body, which is kept for whoever decodes it: whole, in time, as text, and not deeper than can be worked with. */
const body = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  if (!HttpMethod.hasBody(request.method)) return
  const { bodyMs, depth } = yield* Limits
  // Who reads too long is left to itself: to interrupt it would close the connection before anything is said.
  const reading = yield* Effect.forkDetach(request.arrayBuffer)
  const bytes = yield* Fiber.join(reading).pipe(
    Effect.orDie,
    Effect.timeoutOrElse({ duration: bodyMs, orElse: () => Effect.fail(new RequestTimeout({ limitMs: bodyMs })) }),
    Effect.onInterrupt(() => Effect.sync(() => reading.interruptUnsafe()))
  )
  const text = yield* Effect.try({
    try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    catch: () => unusable("it is not UTF-8")
  })
  if (isDeeper(text, depth)) return yield* unusable(`it is deeper than ${depth} arrays and objects within each other`)
})

/** What a browser may do that is signed in. */
const looking: ReadonlyArray<Scope> = ["runs:read", "approvals:decide"]

/** Whether whoever was let in would be again. A database that does not answer says nothing about that. */
const stands = <E extends { readonly _tag: string }>(refused: E["_tag"], look: Effect.Effect<unknown, E>) =>
  Effect.match(look, { onSuccess: () => true, onFailure: (error) => error._tag !== refused })

/** Lets a request through whose key is good, has the scope and is within its rate; what it does is done for the key's organisation. */
export const layer = Layer.effect(Authorization, Effect.gen(function*() {
  const keys = yield* Keys
  const tickets = yield* Tickets
  const { reads } = yield* Limits
  // However many read, and however long: what runs append and renew waits for a few of them at most.
  const reading = Semaphore.makeUnsafe(reads)

  /** The browser that makes a request without a key. What changes something has to be the dashboard's own doing. */
  const browser = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const cookie = cookieOf(request)
    if (Option.isNone(cookie)) return yield* new KeyMissing()
    const pass = yield* tickets.find(cookie.value)
    if (HttpMethod.hasBody(request.method)) yield* checkOrigin(request)
    const by = browserOf(pass)
    return { org: pass.org, by, scopes: looking, admit: tickets.admit(pass), standing: stands("SignedOut", tickets.find(cookie.value)) }
  })

  /** Who has a key. */
  const bearer = (credential: Redacted.Redacted) =>
    Effect.map(keys.verify(credential), (principal) => ({
      org: principal.org,
      by: principalOf(principal),
      scopes: principal.scopes,
      admit: keys.admit(principal),
      standing: stands("KeyRefused", keys.verify(credential))
    }))

  return Authorization.of({
    bearer: Effect.fnUntraced(function*(handled, { credential, endpoint }) {
      const caller = yield* Redacted.value(credential) === "" ? browser : bearer(credential)
      yield* caller.admit
      const scope = Context.get(endpoint.annotations, Needs)
      if (!allows(caller, scope)) return yield* new Forbidden({ scope })
      const { by, org } = caller
      yield* isAbout({ org, principal: by })
      const answered = Effect.andThen(body, handled)
      return yield* (HttpMethod.hasBody(endpoint.method) ? answered : reading.withPermit(answered)).pipe(
        Effect.provideService(CurrentOrg, org),
        Effect.provideService(CurrentPrincipal, by),
        Effect.provideService(Standing, caller.standing),
        Effect.annotateLogs({ org, principal: by })
      )
    })
  })
}))
