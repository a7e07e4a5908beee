import * as fs from "node:fs"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { Api, SignedOut, statuses } from "../Api.ts"
import { AuditLog } from "../AuditLog.ts"
import { CurrentOrg } from "../Org.ts"
import type { OrgId } from "../Run.ts"
import { checkOrigin, cookieOf, withCookie, withoutCookie } from "./Browser.ts"
import { isAbout } from "./Request.ts"
import { principalOf, ticketLife, Tickets } from "./Ticket.ts"

/** Where the page is. */
const path = "/dashboard"

/** The parameter of a link that has its ticket; its value is in no log and no span. */
export const ticketName = "ticket"

/** The page's own files, as they are; `src/dashboard` beside both `src/` and `dist/`. */
const folder = new URL("../../src/dashboard/", import.meta.url)

const types = { html: "text/html; charset=utf-8", css: "text/css; charset=utf-8", js: "text/javascript; charset=utf-8" } as const

const parts = ["ask.js", "dashboard.css", "draw.js", "page.js", "show.js", "timeline.js", "tree.js"] as const

/** What a browser may do with all that comes from here: nothing that is not of this server. */
const headers = {
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff"
} as const

const respond = (body: string, kind: keyof typeof types, status = 200) =>
  HttpServerResponse.text(body, { status, headers, contentType: types[kind] })

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

/** What to try next: a browser that came from another site's page keeps its cookie at home for that one time. */
const next = { ticket: "Open the dashboard, if this browser is signed in already.", cookie: "Try again, if you came here by a link." } as const

/** A page that says in one sentence why there is no dashboard. */
const sentence = ({ _tag, message, reason }: SignedOut) =>
  respond(
    `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Conductor</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${path}/dashboard.css">
<main class="alone"><h1>Conductor</h1><p>${escape(message)}</p><p><a href="${path}">${next[reason]}</a></p></main>
</html>
`,
    "html",
    statuses[_tag]
  )

/** Where programs of this machine reach a server that listens on an address. */
export const reachable = (address: string): string => address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")

/** The path with a ticket in it. */
const entrance = (ticket: Redacted.Redacted): string => `${path}?${ticketName}=${Redacted.value(ticket)}`

/** A link to the dashboard of an organisation, with a new ticket in it: good for ten minutes and for one browser. */
export const link = Effect.fn("Dashboard.link")(function*(org: OrgId) {
  const { address } = yield* HttpServer.HttpServer
  const ticket = yield* Effect.flatMap(Tickets, ({ issue }) => issue(org))
  return Redacted.make(`${reachable(HttpServer.formatAddress(address))}${entrance(ticket)}`)
})

/** Handlers of links for whoever has a key. */
export const layerLinks = HttpApiBuilder.group(Api, "dashboard", Effect.fnUntraced(function*(handlers) {
  const tickets = yield* Tickets
  return handlers.handle("link", Effect.fn("Api.dashboardLink")(function*() {
    const ticket = yield* tickets.issue(yield* CurrentOrg)
    return { link: entrance(ticket), expiresAt: (yield* Clock.currentTimeMillis) + ticketLife }
  }))
}))

/** The page, its way in and its way out. */
export const layer = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const tickets = yield* Tickets
  const audit = yield* AuditLog
  const read = (name: string) => Effect.sync(() => fs.readFileSync(new URL(name, folder), "utf8"))
  const page = respond(yield* read("index.html"), "html")

  /** Lets the browser in that has a ticket, and takes the ticket out of its address. */
  const enter = Effect.fnUntraced(function*(request: HttpServerRequest.HttpServerRequest, ticket: string) {
    const { browser, cookie } = yield* tickets.trade(Redacted.make(ticket))
    const { by, org } = browser
    const principal = principalOf(browser)
    yield* audit.append({ org, principal: by, action: "admin", name: "dashboard.enter", target: principal })
    yield* isAbout({ org, principal })
    return HttpServerResponse.empty({ status: 303, headers: { ...headers, location: path } }).pipe(withCookie(request, cookie))
  })

  const show = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const ticket = new URL(request.url, "http://127.0.0.1").searchParams.get(ticketName)
    // Whoever only asks for the headers has not come in.
    if (ticket !== null && request.method === "GET") return yield* enter(request, ticket)
    const cookie = cookieOf(request)
    if (Option.isNone(cookie)) return yield* new SignedOut({ reason: "cookie" })
    const browser = yield* tickets.find(cookie.value)
    yield* isAbout({ org: browser.org, principal: principalOf(browser) })
    return page
  }).pipe(Effect.catchTag("SignedOut", (error) => Effect.succeed(sentence(error))))

  const leave = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    yield* checkOrigin(request)
    const cookie = cookieOf(request)
    if (Option.isSome(cookie)) yield* tickets.end(cookie.value)
    return HttpServerResponse.empty({ status: 204, headers }).pipe(withoutCookie(request))
  })

  yield* router.add("GET", path, show)
  yield* router.add("POST", `${path}/logout`, leave)
  for (const name of parts) yield* router.add("GET", `${path}/${name}`, respond(yield* read(name), name.endsWith(".css") ? "css" : "js"))
}))
