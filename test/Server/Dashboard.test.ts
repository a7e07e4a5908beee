import { assert, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Logger, Redacted, Schema, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { AuditLog } from "../../src/AuditLog.ts"
import { Agent, Plugin, Tool } from "../../src/index.ts"
import { Keys, Orgs } from "../../src/Org.ts"
import { OrgId } from "../../src/Run.ts"
import * as testing from "../../src/testing.ts"
import { Address, ask, type Asked, events, keyOf, type Loose, served } from "../support/api.ts"
import { askAs, cookieIn, linkTo, open, signedIn } from "../support/browser.ts"

const refund = Tool.make("refund", {
  description: "Gives money back.",
  parameters: Schema.Struct({ order: Schema.String }),
  success: Schema.String,
  effect: "idempotent",
  approval: true
})
const sales = Plugin.make("sales", { tools: [refund], handlers: { refund: ({ order }) => Effect.succeed(order) } })
const clerk = Agent.make("clerk", { instructions: "Serve.", model: "scripted:test", plugins: [sales] })
const model = testing.script((request) => {
  const last = request.messages.at(-1)
  return last?.role === "user" && last.text === "refund" ? { toolCalls: [{ name: "refund", params: { order: "7" } }] } : "<script>alert(1)</script>"
})

const logged: Array<string> = []
const log = Logger.layer([Logger.make((options) => void logged.push(Logger.formatJson.log(options)))])

const spans: Array<Tracer.NativeSpan> = []
const tracer = Layer.succeed(Tracer.Tracer, Tracer.make({
  span: (options) => {
    const span = new Tracer.NativeSpan(options)
    spans.push(span)
    return span
  }
}))

/** What is exported of a span: of how it ended, failures alone. */
const said = ({ attributes, events, name, status }: Tracer.NativeSpan) => [
  name, [...attributes], events, status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
]

/** What a ticket is refused with, on a page. */
const refusal = Effect.fnUntraced(function*(link: string) {
  const response = yield* open(link)
  const page = yield* Effect.promise(() => response.text())
  return { status: response.status, page, cookies: response.headers.getSetCookie() }
})

/** The secret of a link. */
const ticketOf = (link: string) => new URL(link).searchParams.get("ticket") ?? ""

const waiting = Effect.fnUntraced(function*(key?: string) {
  const { body } = yield* ask("/v1/runs", { body: { input: "refund" }, ...(key === undefined ? {} : { key }) })
  return String(body.run)
})

layer(served(testing.layer({ agents: [clerk], model })), { excludeTestServices: true, timeout: 60_000 })("A link to the dashboard", (it) => {
  it.effect("lets one browser in, with a cookie that no script reads, and out of its address", () =>
    Effect.gen(function*() {
      const link = yield* linkTo()
      const { url } = yield* Address
      assert.match(link, /^http:\/\/127\.0\.0\.1:\d+\/dashboard\?ticket=[0-9a-f]{16}\.[0-9a-f]{48}$/)
      assert.isTrue(link.startsWith(url))
      const entered = yield* open(link)
      assert.deepStrictEqual([entered.status, entered.headers.get("location")], [303, "/dashboard"])
      const [cookie = "", ...more] = entered.headers.getSetCookie()
      assert.deepStrictEqual(more, [])
      assert.match(cookie, /^conductor=[0-9a-f]{16}\.[0-9a-f]{48}; /)
      assert.deepStrictEqual(cookie.split("; ").slice(1).toSorted(), ["HttpOnly", "Max-Age=43200", "Path=/", "SameSite=Strict"])
      assert.notInclude(cookie, ticketOf(link).slice(17))
      const page = yield* open("/dashboard", { headers: { cookie: cookieIn(entered) } })
      assert.strictEqual(page.status, 200)
      const again = yield* refusal(link)
      assert.deepStrictEqual([again.status, again.cookies], [401, []])
      assert.include(again.page, "This link was used before, is older than ten minutes, or is not of this server: run conductor dashboard")
    }))

  it.effect("keeps the cookie to https where the browser came by that", () =>
    Effect.gen(function*() {
      const entered = yield* open(yield* linkTo(), { headers: { "x-forwarded-proto": "https, http" } })
      assert.include(entered.headers.getSetCookie()[0], "; Secure")
    }))

  it.effect("is not used by who asks for its headers only", () =>
    Effect.gen(function*() {
      const link = yield* linkTo()
      const looked = yield* open(link, { method: "HEAD" })
      assert.deepStrictEqual([looked.status, looked.headers.getSetCookie()], [401, []])
      assert.strictEqual((yield* open(link)).status, 303)
    }))

  it.effect("is had with a key too, and what came of it ends with that key", () =>
    Effect.gen(function*() {
      yield* (yield* Orgs).create("linked", "Linked")
      const org = OrgId.make("linked")
      const keys = yield* Keys
      const { key, record } = yield* keys.create({ org, name: "ann", scopes: ["admin"] })
      const by = { key: Redacted.value(key), method: "POST" }
      const [first, second] = [yield* ask("/v1/dashboard", by), yield* ask("/v1/dashboard", by)]
      assert.strictEqual(first.status, 201)
      assert.match(first.body.link, /^\/dashboard\?ticket=/)
      const browser = { cookie: cookieIn(yield* open(first.body.link)) }
      const other = yield* signedIn("linked")
      assert.deepStrictEqual((yield* askAs(browser, "/v1/runs")).body.runs, [])
      const rows = yield* (yield* AuditLog).list({ org, limit: 5, tool: "dashboard.enter" })
      assert.deepStrictEqual(rows.map(({ principal }) => principal), ["local", `key:${record.id}`])
      yield* keys.revoke(org, record.id, "ann")
      const late = yield* askAs(browser, "/v1/runs")
      assert.deepStrictEqual([late.status, late.body._tag], [401, "SignedOut"])
      assert.strictEqual((yield* open("/dashboard", { headers: browser })).status, 401)
      assert.strictEqual((yield* open(second.body.link)).status, 401)
      assert.strictEqual((yield* askAs(other, "/v1/runs")).status, 200)
      const reader = yield* keyOf(["runs:read", "runs:write", "approvals:decide"])
      assert.strictEqual((yield* ask("/v1/dashboard", { key: reader, method: "POST" })).status, 403)
      assert.strictEqual((yield* askAs(other, "/v1/dashboard", { method: "POST" })).status, 403)
    }))

  it.effect("lets in one of those who come at the same time", () =>
    Effect.gen(function*() {
      const link = yield* linkTo()
      const came = yield* Effect.forEach(Array.from({ length: 20 }), () => open(link), { concurrency: "unbounded" })
      assert.deepStrictEqual(came.map(({ status }) => status).filter((status) => status === 303), [303])
    }))

  it.effect("is not found by a thousand guesses, which cost nobody anything", () =>
    Effect.gen(function*() {
      const link = yield* linkTo()
      const right = ticketOf(link)
      const browser = yield* signedIn()
      const guess = (text: string, index: number) => {
        const at = 17 + index % 48
        return `${text.slice(0, at)}${((Number.parseInt(text[at] ?? "0", 16) + 1 + index % 15) % 16).toString(16)}${text.slice(at + 1)}`
      }
      const odd = ["", ".", "..", right.slice(0, 17), right.slice(17), `${right}0`, ` ${right}`, right.toUpperCase(), "x".repeat(4_000), "constructor.x", "__proto__.x"]
      const guesses = [...odd, ...Array.from({ length: 1_000 - odd.length }, (_, index) => guess(right, index))]
      const statuses = yield* Effect.forEach(guesses, (text) => Effect.map(open(`/dashboard?ticket=${encodeURIComponent(text)}`), ({ status }) => status), { concurrency: 16 })
      assert.deepStrictEqual([...new Set(statuses)], [401])
      const cookies = Array.from({ length: 100 }, (_, index) => guess(browser.cookie.split("=")[1] ?? "", index))
      for (const cookie of cookies) assert.strictEqual((yield* askAs({ cookie: `conductor=${cookie}` }, "/v1/runs")).status, 401)
      assert.strictEqual((yield* askAs(browser, "/v1/runs")).status, 200)
      assert.strictEqual((yield* open(link)).status, 303)
    }))

  it.effect("is in no log and in no span, nor is the cookie; the trail says who came in", () =>
    Effect.gen(function*() {
      const link = yield* linkTo()
      const entered = yield* open(link)
      const browser = { cookie: cookieIn(entered) }
      yield* askAs(browser, "/v1/runs")
      yield* refusal(link)
      const told = inspect([logged, spans.map(said)], { depth: 10, maxArrayLength: null, maxStringLength: null })
      assert.include(told, "ticket=REDACTED")
      for (const secret of [ticketOf(link), browser.cookie.split("=")[1] ?? ""]) {
        assert.notInclude(told, secret)
        assert.notInclude(told, secret.slice(17))
      }
      assert.isTrue(logged.some((line) => line.includes(`"path":"/dashboard","status":303`)))
      const principal = `dashboard:${browser.cookie.slice("conductor=".length).split(".")[0]}`
      assert.isTrue(logged.some((line) => line.includes(principal)))
      const [row] = yield* (yield* AuditLog).list({ org: OrgId.make("local"), limit: 1, target: principal })
      assert.deepInclude(row, { tool: "dashboard.enter", principal: "local", action: "admin", success: true })
    }).pipe(Effect.provide(Layer.fresh(served(testing.layer({ agents: [clerk], model }), log).pipe(Layer.provideMerge(tracer))))))
})

layer(served(testing.layer({ agents: [clerk], model })), { excludeTestServices: true, timeout: 60_000 })("A browser that is signed in", (it) => {
  it.effect("reads and decides, and may do nothing else", () =>
    Effect.gen(function*() {
      const browser = yield* signedIn()
      const run = yield* waiting()
      yield* events(run, { enough: ({ event }) => event === "RunParked" })
      const paths = ["/v1/runs", `/v1/runs/${run}`, "/v1/usage?by=model", "/v1/usage?by=day", "/v1/budgets", "/v1/tools/usage", "/v1/errors", "/v1/approvals", "/v1/audit/verify"]
      for (const path of paths) assert.strictEqual((yield* askAs(browser, path)).status, 200, path)
      const { body } = yield* askAs(browser, "/v1/approvals")
      const request = body.approvals.find((one: Loose) => one.run === run)
      const decided = yield* askAs(browser, `/v1/approvals/${request.id}`, { body: { decision: "denied", digest: request.digest, comment: "no" } })
      assert.strictEqual(decided.status, 202)
      const { sent } = yield* events(run)
      const by = sent.find(({ event }) => event === "ApprovalDecided")?.data.event.by
      assert.match(by, /^dashboard:[0-9a-f]{16}$/)
      const others: ReadonlyArray<readonly [string, Asked]> = [
        ["/v1/runs", { body: { input: "hello" } }], [`/v1/runs/${run}/cancel`, { body: {} }], [`/v1/runs/${run}/messages`, { body: { text: "hello" } }],
        ["/v1/keys", {}], ["/v1/keys", { body: { name: "mine", scopes: ["admin"] } }], ["/v1/audit", {}], ["/metrics", {}],
        ["/v1/budgets", { method: "PUT", body: { scope: "org", limit: "1" } }], ["/v1/sessions", { body: {} }]
      ]
      for (const [path, how] of others) {
        const { body, status } = yield* askAs(browser, path, how)
        assert.deepStrictEqual([status, body._tag], [403, "Forbidden"], path)
      }
    }))

  it.effect("follows a run", () =>
    Effect.gen(function*() {
      const browser = yield* signedIn()
      const { body } = yield* ask("/v1/runs", { body: { input: "hello" } })
      const stream = yield* open(`${body.links.events}?after=0`, { headers: browser })
      const text = yield* Effect.promise(() => stream.text())
      assert.include(text, "event: RunCompleted")
      assert.include(text, "<script>alert(1)</script>")
      assert.strictEqual(stream.headers.get("content-type"), "text/event-stream; charset=utf-8")
    }))

  it.effect("changes nothing on behalf of another site's page", () =>
    Effect.gen(function*() {
      const { url } = yield* Address
      const { host } = new URL(url)
      const browser = yield* signedIn()
      const run = yield* waiting()
      yield* events(run, { enough: ({ event }) => event === "RunParked" })
      const decide = (headers: Record<string, string>) =>
        ask(`/v1/approvals/${run}.1.1`, { key: null, headers: { ...browser, ...headers }, body: { decision: "approved" } })
      const foreign: ReadonlyArray<Record<string, string>> = [
        {},
        { "sec-fetch-site": "cross-site" },
        { "sec-fetch-site": "same-site", origin: `http://${host}` },
        { "sec-fetch-site": "none" },
        { origin: "null" },
        { origin: "" },
        { origin: "https://example.com" },
        { origin: `http://${host}.example.com` },
        { origin: `http://127.0.0.1:1` },
        { origin: `http://example.com/${host}` },
        { referer: `${url}/dashboard` }
      ]
      for (const headers of foreign) {
        const { body, status } = yield* decide(headers)
        assert.deepStrictEqual([status, body._tag], [403, "ForeignOrigin"], JSON.stringify(headers))
        const left = yield* open("/dashboard/logout", { method: "POST", headers: { ...browser, ...headers } })
        assert.strictEqual(left.status, 403)
      }
      assert.strictEqual((yield* ask(`/v1/runs/${run}`)).body.status, "parked")
      // As a browser sends it on a plain address of a network, where it says no more than its origin.
      assert.strictEqual((yield* decide({ origin: url })).status, 202)
      // A key is nobody's cookie: whoever sends it means to.
      assert.strictEqual((yield* ask("/v1/runs", { headers: { origin: "https://example.com" }, body: { input: "hello" } })).status, 202)
    }))

  it.effect("is judged by its key where it has one, and by nothing of another's", () =>
    Effect.gen(function*() {
      const browser = yield* signedIn()
      const wrong = yield* ask("/v1/runs", { key: "ck_wrong000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", headers: browser })
      assert.deepStrictEqual([wrong.status, wrong.body._tag], [401, "KeyRefused"])
      const weak = yield* keyOf(["runs:write"])
      assert.strictEqual((yield* ask("/v1/runs", { key: weak, headers: browser })).status, 403)
      const nobody = yield* ask("/v1/runs", { key: null, headers: { cookie: "other=1; conductor2=2" } })
      assert.deepStrictEqual([nobody.status, nobody.body._tag], [401, "KeyMissing"])
    }))

  it.effect("sees nothing of another organisation", () =>
    Effect.gen(function*() {
      yield* (yield* Orgs).create("acme", "Acme")
      const key = yield* keyOf(["admin"], { org: OrgId.make("acme") })
      const theirs = yield* waiting(key)
      const ours = yield* waiting()
      const [mine, other] = [yield* signedIn(), yield* signedIn("acme")]
      for (const [browser, seen, hidden] of [[mine, ours, theirs], [other, theirs, ours]] as const) {
        const { body } = yield* askAs(browser, "/v1/runs")
        const runs = body.runs.map((one: Loose) => one.run)
        assert.include(runs, seen)
        assert.notInclude(runs, hidden)
        for (const path of [`/v1/runs/${hidden}`, `/v1/runs/${hidden}/events`]) assert.strictEqual((yield* askAs(browser, path)).status, 404)
        const decided = yield* askAs(browser, `/v1/approvals/${hidden}.1.1`, { body: { decision: "approved" } })
        assert.strictEqual(decided.status, 404)
        const lists = yield* Effect.forEach(["/v1/approvals", "/v1/usage?by=session", "/v1/errors", "/v1/budgets", "/v1/sessions"], (path) => askAs(browser, path))
        assert.notInclude(JSON.stringify(lists.map(({ body }) => body)), hidden)
      }
    }))

  it.effect("signs out for good", () =>
    Effect.gen(function*() {
      const { url } = yield* Address
      const [browser, other] = [yield* signedIn(), yield* signedIn()]
      const left = yield* open("/dashboard/logout", { method: "POST", headers: { ...browser, origin: url } })
      assert.strictEqual(left.status, 204)
      assert.match(left.headers.getSetCookie()[0] ?? "", /^conductor=; Max-Age=0; /)
      const after = yield* askAs(browser, "/v1/runs")
      assert.deepStrictEqual([after.status, after.body._tag], [401, "SignedOut"])
      const page = yield* open("/dashboard", { headers: browser })
      assert.strictEqual(page.status, 401)
      assert.include(yield* Effect.promise(() => page.text()), "This browser is not signed in, or the server was started anew since: run conductor dashboard")
      assert.strictEqual((yield* askAs(other, "/v1/runs")).status, 200)
      assert.strictEqual((yield* open("/dashboard/logout", { method: "POST", headers: { ...browser, origin: url } })).status, 204)
    }))

  it.effect("gets a page that loads nothing from elsewhere and is shown nowhere else", () =>
    Effect.gen(function*() {
      const browser = yield* signedIn()
      const page = yield* open("/dashboard", { headers: browser })
      const html = yield* Effect.promise(() => page.text())
      const parts = [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map((match) => match[1] ?? "")
      assert.sameMembers(parts, ["/dashboard/dashboard.css", "/dashboard/page.js"])
      assert.notMatch(html, /<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?:/)
      const seen = new Set(parts)
      // What a module imports is loaded too.
      for (const part of seen) {
        const response = yield* open(part)
        const text = yield* Effect.promise(() => response.text())
        assert.strictEqual(response.status, 200, part)
        assert.strictEqual(response.headers.get("content-type"), part.endsWith(".css") ? "text/css; charset=utf-8" : "text/javascript; charset=utf-8")
        for (const match of text.matchAll(/^import .*from "\.\/([^"]+)"/gm)) seen.add(`/dashboard/${match[1]}`)
        assert.notMatch(text, /@import url|https?:/)
      }
      assert.isAbove(seen.size, 4)
      const signedOut = yield* open("/dashboard")
      for (const { headers } of [page, signedOut, yield* open(yield* linkTo()), yield* open("/dashboard/page.js")]) {
        const policy = headers.get("content-security-policy") ?? ""
        for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]) assert.include(policy, part)
        assert.notInclude(policy, "unsafe")
        assert.deepStrictEqual(
          [headers.get("referrer-policy"), headers.get("x-content-type-options"), headers.get("cache-control"), headers.get("access-control-allow-origin")],
          ["no-referrer", "nosniff", "no-store", null]
        )
      }
      for (const path of ["/dashboard/tsconfig.json", "/dashboard/../main.ts", "/dashboard/%2e%2e/main.ts", "/dashboard/index.html"]) {
        assert.strictEqual((yield* open(path, { headers: browser })).status, 404, path)
      }
    }))
})

layer(served(testing.layer({ agents: [clerk], model })))("The dashboard in time", (it) => {
  it.effect("takes a link for ten minutes, and a browser for twelve hours", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* linkTo(), yield* linkTo()]
      yield* TestClock.adjust("9 minutes")
      const entered = yield* open(first)
      assert.strictEqual(entered.status, 303)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* refusal(second)).status, 401)
      const browser = { cookie: cookieIn(entered) }
      yield* TestClock.adjust("11 hours")
      assert.strictEqual((yield* askAs(browser, "/v1/runs")).status, 200)
      yield* TestClock.adjust("59 minutes")
      const late = yield* askAs(browser, "/v1/runs")
      assert.deepStrictEqual([late.status, late.body._tag], [401, "SignedOut"])
    }))

  it.effect("has a hundred links and a hundred browsers of an organisation at a time, and leaves others theirs", () =>
    Effect.gen(function*() {
      yield* (yield* Orgs).create("acme", "Acme")
      const [other, first] = [yield* signedIn("acme"), yield* signedIn()]
      const link = yield* linkTo()
      for (let count = 0; count < 99; count++) yield* linkTo()
      const second = yield* signedIn()
      assert.strictEqual((yield* open(link)).status, 401)
      for (let count = 0; count < 98; count++) yield* signedIn()
      assert.strictEqual((yield* askAs(first, "/v1/runs")).status, 200)
      const last = yield* signedIn()
      const statuses = yield* Effect.forEach([first, second, last, other], (browser) => Effect.map(askAs(browser, "/v1/runs"), ({ status }) => status))
      assert.deepStrictEqual(statuses, [401, 200, 200, 200])
    }))

  it.effect("is a stranger to a browser of a server before", () =>
    Effect.gen(function*() {
      const browser = yield* signedIn()
      const { key } = yield* Address
      yield* (yield* Keys).verify(key)
      const again = yield* Effect.provide(
        Effect.all([open("/dashboard", { headers: browser }), askAs(browser, "/v1/runs")]),
        Layer.fresh(served(testing.layer({ agents: [clerk], model })))
      )
      const page = yield* Effect.promise(() => again[0].text())
      assert.deepStrictEqual([again[0].status, again[1].status], [401, 401])
      assert.include(page, "the server was started anew since")
    }))
})
