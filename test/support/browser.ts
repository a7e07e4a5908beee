/** A browser as the server sees it: it opens links without following where they lead to, and keeps a cookie. */
import { Effect, Redacted } from "effect"
import { OrgId } from "../../src/Run.ts"
import * as Server from "../../src/Server.ts"
import { Address, ask, type Asked } from "./api.ts"

/** Asks for a path and takes the answer as it is. */
export const open = Effect.fnUntraced(function*(path: string, init: RequestInit = {}) {
  const { url } = yield* Address
  return yield* Effect.promise((signal) => fetch(new URL(path, url), { redirect: "manual", signal, ...init }))
})

/** A link to the dashboard of an organisation. */
export const linkTo = (org = "local") => Effect.map(Server.link(OrgId.make(org)), Redacted.value)

/** The cookie that a response sets, as a browser sends it back. */
export const cookieIn = (response: Response): string => response.headers.getSetCookie()[0]?.split(";")[0] ?? ""

/** A browser that is signed in to an organisation; the headers of its requests. */
export const signedIn = Effect.fnUntraced(function*(org?: string) {
  const entered = yield* Effect.flatMap(linkTo(org), open)
  return { cookie: cookieIn(entered) }
})

/** Asks the API as that browser does on the server's own page. */
export const askAs = (browser: { readonly cookie: string }, path: string, asked: Asked = {}) =>
  ask(path, { key: null, ...asked, headers: { ...browser, "sec-fetch-site": "same-origin", ...asked.headers } })
