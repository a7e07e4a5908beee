import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import * as HttpMethod from "effect/http/HttpMethod"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import { Authorization, BadRequest, Forbidden, KeyMissing, Needs, RequestTimeout } from "../Api.ts"
import { allows, CurrentOrg, CurrentPrincipal, Keys, principalOf } from "../Org.ts"
import { Limits } from "./Limits.ts"
import { isAbout, Standing } from "./Request.ts"

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

/** Lets a request through whose key is good, has the scope and is within its rate; what it does is done for the key's organisation. */
export const layer = Layer.effect(Authorization, Effect.gen(function*() {
  const keys = yield* Keys
  const { reads } = yield* Limits
  // However many read, and however long: what runs append and renew waits for a few of them at most.
  const reading = Semaphore.makeUnsafe(reads)
  const standingOf = (credential: Redacted.Redacted) =>
    Effect.as(keys.verify(credential), true).pipe(
      // A database that does not answer says nothing about the key.
      Effect.catch((error) => Effect.succeed(error._tag !== "KeyRefused"))
    )
  return Authorization.of({
    bearer: Effect.fnUntraced(function*(handled, { credential, endpoint }) {
      if (Redacted.value(credential) === "") return yield* new KeyMissing()
      const principal = yield* keys.verify(credential)
      yield* keys.admit(principal)
      const scope = Context.get(endpoint.annotations, Needs)
      if (!allows(principal, scope)) return yield* new Forbidden({ scope })
      const by = principalOf(principal)
      yield* isAbout({ org: principal.org, principal: by })
      const answered = Effect.andThen(body, handled)
      return yield* (HttpMethod.hasBody(endpoint.method) ? answered : reading.withPermit(answered)).pipe(
        Effect.provideService(CurrentOrg, principal.org),
        Effect.provideService(CurrentPrincipal, by),
        Effect.provideService(Standing, standingOf(credential)),
        Effect.annotateLogs({ org: principal.org, principal: by })
      )
    })
  })
}))
