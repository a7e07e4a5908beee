import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { ForeignOrigin } from "../Api.ts"
import { browserLife } from "./Ticket.ts"

/** The cookie of a browser that is signed in. */
const name = "conductor"

type Asked = Pick<HttpServerRequest.HttpServerRequest, "headers" | "cookies">

/** The cookie of a request, where it has one. */
export const cookieOf = ({ cookies }: Asked): Option.Option<Redacted.Redacted> =>
  Option.map(Option.fromUndefinedOr(cookies[name]), (value) => Redacted.make(value))

/** Whether the browser came by https, as a proxy before the server says. Who says so falsely gets a stricter cookie. */
const isSecure = ({ headers }: Asked): boolean => headers["x-forwarded-proto"]?.split(",")[0]?.trim().toLowerCase() === "https"

const options = (request: Asked) => ({ httpOnly: true, sameSite: "strict", path: "/", secure: isSecure(request) }) as const

/** The response with which a browser gets its cookie. */
export const withCookie = (request: Asked, cookie: Redacted.Redacted) =>
  HttpServerResponse.setCookieUnsafe(name, Redacted.value(cookie), { ...options(request), maxAge: browserLife })

/** The response with which a browser loses its cookie. */
export const withoutCookie = (request: Asked) => HttpServerResponse.setCookieUnsafe(name, "", { ...options(request), maxAge: 0 })

const hostOf = (origin: string): string | undefined => Option.getOrUndefined(Option.liftThrowable(() => new URL(origin).host)())

/**
 * Refuses a request that a page of another site made a browser send: its cookie is to stay at home then, and this holds where it does
 * not. A browser says where a request comes from in words, or, on a plain address of a network, by its origin.
 */
export const checkOrigin = ({ headers }: Asked): Effect.Effect<void, ForeignOrigin> => {
  const { host, origin = "", "sec-fetch-site": site } = headers
  const isOwn = site === undefined ? host !== undefined && hostOf(origin) === host : site === "same-origin"
  return isOwn ? Effect.void : Effect.fail(new ForeignOrigin())
}
