import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, Stream } from "effect"
import * as fs from "node:fs"
import { ConductorClient, type RunItem } from "../../src/client.ts"
import type { RunId } from "../../src/Run.ts"
import { demo } from "../../src/plugins/demo.ts"
import { conductor, launched, type Running } from "../support/cli.ts"
import { freshDirectory, scratchPath } from "../support/databases.ts"
import { freePort } from "../support/server.ts"

const key = Redacted.make(`ck_test0000_${"k".repeat(40)}`)

let template: string | undefined

/** A data directory with the dealers of the demonstration in it. */
const dealers = Effect.gen(function*() {
  const dir = yield* freshDirectory
  if (template === undefined) {
    assert.strictEqual((yield* conductor(["demo", "--data-dir", dir])).code, 0)
    // Of this file, and not of the first test that needs it.
    template = scratchPath("dealers")
    fs.cpSync(dir, template, { recursive: true })
  } else {
    fs.rmSync(dir, { recursive: true })
    fs.cpSync(template, dir, { recursive: true })
  }
  return dir
})

const serve = Effect.fnUntraced(function*(dir: string, port: number, ...more: ReadonlyArray<string>) {
  const server = yield* launched(["serve", "--port", String(port), "--data-dir", dir, ...more], {
    cwd: dir,
    env: { CONDUCTOR_API_KEY: Redacted.value(key), CONDUCTOR_DATABASE_FSYNC: "false" }
  })
  yield* server.says("Try it")
  return server
})

const clientOf = (port: number) => ConductorClient.layerFetch({ url: `http://127.0.0.1:${port}`, key })

const ended = (server: Running, signal: "SIGTERM" | "SIGKILL") =>
  Effect.andThen(Effect.sync(() => server.child.kill(signal)), server.code)

describe("conductor serve", () => {
  it.live("makes the first key and says how to use it, once", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const first = yield* launched(["serve", "--port", "0", "--data-dir", dir], { cwd: dir, env: { CONDUCTOR_CORS: "https://example.com, https://app.example.com" } })
      yield* first.says("Try it")
      const [, address = "", bearer = ""] = /curl -s (\S+)\/v1\/runs -H "Authorization: Bearer (ck_\w+)"/.exec(first.out) ?? []
      assert.match(address, /^http:\/\/127\.0\.0\.1:\d+$/)
      const response = yield* Effect.promise(() =>
        fetch(`${address}/v1/runs`, {
          method: "POST",
          headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
          body: `{"input": "Say hello."}`
        }))
      assert.strictEqual(response.status, 202)
      for (const [origin, allowed] of [["https://app.example.com", "https://app.example.com"], ["https://example.org", null]] as const) {
        const asked = yield* Effect.promise(() => fetch(`${address}/health`, { headers: { origin } }))
        assert.strictEqual(asked.headers.get("access-control-allow-origin"), allowed)
      }
      assert.strictEqual(yield* ended(first, "SIGTERM"), 0)
      assert.include(first.err, `"path":"/v1/runs","status":202`)
      assert.notInclude(first.err, bearer)
      const second = yield* launched(["serve", "--port", "0", "--data-dir", dir], { cwd: dir })
      yield* second.says("Try it")
      assert.notInclude(second.out, "ck_")
      assert.include(second.out, "Bearer $CONDUCTOR_API_KEY")
    }).pipe(Effect.scoped), 60_000)

  it.live("loses no event when it is killed in the middle, again and again", () =>
    Effect.gen(function*() {
      const dir = yield* dealers
      const port = yield* Effect.promise(freePort)
      let server = yield* serve(dir, port)
      const seen: Array<RunItem> = []
      const { run, text } = yield* Effect.gen(function*() {
        const client = yield* ConductorClient
        // The agent's own limit covers what the attempts may have cost that nobody saw the end of.
        const { run } = yield* client.start({ agent: "dealers", input: demo.question })
        const watching = yield* client.watch(run).pipe(Stream.runForEach((item) => Effect.sync(() => seen.push(item))), Effect.forkChild)
        for (const events of [3, 9]) {
          while (seen.filter((item) => "event" in item).length < events) yield* Effect.sleep("20 millis")
          assert.strictEqual(yield* ended(server, "SIGKILL"), "SIGKILL")
          server = yield* serve(dir, port)
        }
        yield* Fiber.join(watching)
        const view = yield* client.waitForCompletion(run)
        return { run, text: view.text }
      }).pipe(Effect.provide(clientOf(port)))
      const logged = seen.flatMap((item) => "event" in item ? [item] : [])
      assert.deepStrictEqual(logged.map(({ seq }) => seq), logged.map((_, index) => index + 1))
      assert.strictEqual(logged.at(-1)?.event._tag, "RunCompleted")
      assert.include(text ?? "", "has the most Generac dealers")
      const last = logged.findLast(({ event }) => event._tag === "TurnCompleted")?.event
      assert(last?._tag === "TurnCompleted")
      assert.strictEqual(last.parts.map((part) => part.type === "text" ? part.text : "").join(""), text)
      assert.isAbove(logged.filter(({ event }) => event._tag === "RunClaimed").length, 1)
      // The events as another process tells them are the same.
      yield* ended(server, "SIGKILL")
      const shown = yield* conductor(["show", run, "--json", "--data-dir", dir])
      assert.deepStrictEqual(shown.lines.map((line) => line.event?._tag), logged.map(({ event }) => event._tag))
    }).pipe(Effect.scoped), 120_000)

  it.live("drains when it is told to end: nothing new, streams are told to come back, what is not done is parked", () =>
    Effect.gen(function*() {
      const dir = yield* dealers
      const port = yield* Effect.promise(freePort)
      const server = yield* serve(dir, port, "--drain-seconds", "1")
      const ask = (path: string, init: RequestInit = {}) =>
        Effect.promise(() => fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers: { authorization: `Bearer ${Redacted.value(key)}`, "content-type": "application/json" } }))
      const start = () => ask("/v1/runs", { method: "POST", body: JSON.stringify({ agent: "dealers", input: demo.question }) })
      const { run } = yield* Effect.flatMap(start(), (response) => Effect.promise(() => response.json() as Promise<{ readonly run: RunId }>))
      const stream = yield* ask(`/v1/runs/${run}/events`)
      const reading = yield* Effect.forkChild(Effect.promise(() => stream.text()))
      yield* Effect.sleep("300 millis")
      server.child.kill("SIGTERM")
      yield* server.says("Ending (SIGTERM)")
      assert.match(yield* Fiber.join(reading), /retry: \d+\n\n$/)
      const [refused, ready, health] = yield* Effect.all([start(), ask("/ready"), ask("/health")], { concurrency: 3 })
      assert.deepStrictEqual([refused.status, ready.status, health.status], [503, 503, 200])
      assert.isAbove(Number(refused.headers.get("retry-after")), 0)
      assert.strictEqual(yield* server.code, 0)
      assert.include(server.err, "1 parked for the next start")
      const next = yield* serve(dir, port)
      const view = yield* Effect.flatMap(ConductorClient, (client) => client.waitForCompletion(run)).pipe(Effect.provide(clientOf(port)))
      assert.include(view.text ?? "", "has the most Generac dealers")
      assert.strictEqual(yield* ended(next, "SIGTERM"), 0)
    }).pipe(Effect.scoped), 60_000)

  it.live("carries out the commands of other processes on its directory", () =>
    Effect.gen(function*() {
      const dir = yield* dealers
      const server = yield* serve(dir, 0)
      const cli = (args: ReadonlyArray<string>, stdin = "") => conductor([...args, "--data-dir", dir], { stdin })
      const asked = yield* cli(["run", demo.question, "--agent", "dealers", "--model", "scripted:demo"])
      assert.deepStrictEqual([asked.code, asked.err], [0, ""])
      assert.include(asked.out, "has the most Generac dealers")
      const piped = yield* cli(["run", "-", "--json", "--tools", "", "--model", "scripted:demo"], "What is that?")
      assert.strictEqual(piped.code, 0)
      assert.strictEqual(piped.lines[0]?.event?.["input"], JSON.stringify("What is that?"))
      const run = String(piped.lines[0]?.["run"])
      assert.include((yield* cli(["show", run])).out, "What is that?")
      assert.include((yield* cli(["runs"])).out, run)
      const late = yield* cli(["cancel", run])
      assert.deepStrictEqual([late.code, late.err.includes("it is completed")], [1, true])
      assert.include((yield* cli(["audit", "verify"])).out, "chain verified")
      const migrated = yield* cli(["migrate"])
      assert.strictEqual(migrated.code, 1)
      assert.include(migrated.err, `in use by process ${server.child.pid}`)
      // Ctrl-C is the command's, and the run's end is told as ever.
      const cancelled = yield* conductor(["run", demo.question, "--agent", "dealers", "--model", "scripted:demo", "--data-dir", dir], {
        onOut: (out, signal) => {
          if (out.includes("I count")) signal("SIGINT")
        }
      })
      assert.strictEqual(cancelled.code, 130)
      assert.include(cancelled.out, "cancelled")
      assert.strictEqual(yield* ended(server, "SIGTERM"), 0)
      assert.include((yield* cli(["runs"])).out, run)
    }).pipe(Effect.scoped), 90_000)

  it.live("says who has the port or the directory", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const port = yield* Effect.promise(freePort)
      yield* serve(dir, port)
      const same = yield* conductor(["serve", "--port", String(port), "--data-dir", scratchPath("other")])
      assert.strictEqual(same.code, 1)
      assert.include(same.err, `Cannot listen on 127.0.0.1:${port} (another program has it; choose one with --port).`)
      const held = yield* conductor(["serve", "--port", "0", "--data-dir", dir])
      assert.strictEqual(held.code, 1)
      assert.include(held.err, "is in use by process")
      const everybody = yield* conductor(["serve", "--port", "0", "--cors", "https://example.com", "--cors", "*", "--data-dir", scratchPath("third")])
      assert.deepStrictEqual([everybody.code, everybody.err], [
        2, "\"*\" is no origin for --cors or CONDUCTOR_CORS: every origin at once is not allowed: name each one.\n"
      ])
    }).pipe(Effect.scoped), 60_000)
})
