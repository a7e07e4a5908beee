import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, Schema, Stream } from "effect"
import { Agents } from "../../src/Cli/Agents.ts"
import { Agent, AuditLog, Conductor, CurrentOrg, Model, Plugin, Run, Tool } from "../../src/index.ts"
import { calls, conductor, type Options, says } from "../support/cli.ts"
import { refunds, withClerk } from "../support/clerk.ts"
import { scripted } from "../support/conductors.ts"
import { freshDirectory, freshPostgres } from "../support/databases.ts"
import { replay, type Script } from "../support/replay.ts"

/** A migrated database, a Claude that plays scripts, and the program, with the clerk among its agents unless that is left out. */
const world = Effect.fnUntraced(function*(...scripts: ReadonlyArray<Script>) {
  const { url } = yield* freshPostgres()
  const server = yield* replay(...scripts)
  const env = { DATABASE_URL: Redacted.value(url), ANTHROPIC_API_KEY: "sk-test-secret", ANTHROPIC_BASE_URL: server.url }
  const other = (args: ReadonlyArray<string>, options: Options = {}) => conductor(args, { ...options, env: { ...env, ...options.env } })
  const cli = (args: ReadonlyArray<string>, options: Options = {}) => other(args, options).pipe(Effect.provideService(Agents, withClerk))
  return { env, url, server, cli, other }
})

const orders = (order: string, more: object = {}) => calls("I pay it back.", ["refund", { order, dollars: 500, ...more }])
const refunded = (order: string) => refunds.filter((one) => one.order === order)
const runOf = (out: string) => /run ([0-9a-f-]{36})/.exec(out)?.[1] ?? "none"

describe("conductor approvals, approve and deny", () => {
  it.live("lists what waits without its secrets, decides with other parameters, and goes on with the run", () =>
    Effect.gen(function*() {
      const { cli, server } = yield* world(orders("A-1", { account: "DE00 1234", api_key: "hidden-too" }), says("Done."))
      const parked = yield* cli(["run", "Pay A-1 back", "--agent", "clerk"])
      const run = runOf(parked.out)
      const id = `${run}.1.1`
      assert.strictEqual(parked.code, 1)
      assert.match(parked.out, /‖ refund needs approval {2}order: A-1, dollars: 500.*\n {2}[0-9a-f-]{36}\.1\.1, good until .* UTC\n\n‖ parked · 1 turn/)
      assert.strictEqual(parked.err, `Run ${run} is parked until somebody decides about its call of refund: conductor approve ${id}, or conductor deny ${id}.\n`)
      assert.match((yield* cli(["runs", "--status", "parked"])).out, new RegExp(`${run} .* parked`))

      const list = yield* cli(["approvals"])
      assert.match(list.out, new RegExp(
        `^refund {2}${id}\n {2}order: A-1\n {2}account: \\[REDACTED\\]\n {2}api_key: \\[REDACTED\\]\n {2}dollars: 500\n` +
          ` {2}agent clerk · run ${run} · asked .* UTC · good for (1 h 59|2 h 0) min\nDecide with conductor approve ID or conductor deny ID; both take --comment\\.\n$`
      ))
      const [row, ...more] = (yield* cli(["approvals", "--json"])).lines
      assert.strictEqual(more.length, 0)
      assert.deepInclude(row, { id, run, tool: "refund", agent: "clerk", parameters: { order: "A-1", dollars: 500, account: "[REDACTED]", api_key: "[REDACTED]" } })
      assert.notMatch(JSON.stringify(row) + list.out, /DE00|hidden-too/)
      const waiting = yield* cli(["show", run])
      assert.match(waiting.out, new RegExp(`refund needs approval .*\n.*${id}, good until .* UTC\n +good for (1 h 59|2 h 0) min\n`))
      assert.include(waiting.out, `conductor approve ${id}, or`)

      const unfit = yield* cli(["approve", id, "--params", `{"order":"A-1"}`])
      assert.deepStrictEqual([unfit.code, unfit.out], [1, ""])
      assert.match(unfit.err, new RegExp(`^The parameters for "${id}" cannot be used: [^\n]*dollars[^\n]*\n$`))
      const approved = yield* cli(["approve", id.toUpperCase(), "--params", `{"order":"A-1","dollars":50}`, "--comment", "only a part"])
      assert.strictEqual(approved.err, "")
      assert.strictEqual(approved.code, 0)
      assert.match(approved.out, /^✓ refund approved by local: only a part\n {2}with other parameters: order: A-1, dollars: 50\n✓ refund \d+ ms .*\nDone\.\n\n✓ completed · 2 turns/)
      assert.deepStrictEqual(refunded("A-1"), [{ order: "A-1", dollars: 50 }])
      assert.include(server.received.at(-1)?.body, "parametersChangedBy")

      const twice = yield* cli(["approve", id])
      assert.deepStrictEqual([twice.code, twice.err], [1, `The request for approval "${id}" was decided already (approved by local), and one decision is all that it takes.\n`])
      assert.strictEqual((yield* cli(["approvals"])).out, "Nothing waits for approval.\n")
      assert.strictEqual((yield* cli(["approvals", "--json"])).out, "")
      const end = yield* cli(["show", run])
      assert.match(end.out, /✓ refund approved by local: only a part\n +with other parameters/)
      assert.notInclude(end.out, "good for")
    }))

  it.live("denies, one call after the other, and tells of the next that waits; events with --json", () =>
    Effect.gen(function*() {
      const { cli } = yield* world(calls("Both.", ["refund", { order: "B-1", dollars: 500 }], ["refund", { order: "B-2", dollars: 700 }]), says("Only one."))
      const parked = yield* cli(["run", "Pay both back", "--agent", "clerk", "--json"])
      const run = String(parked.lines[0]?.["run"])
      assert.match(parked.err, new RegExp(`conductor deny ${run}\\.1\\.1, which is the first of 2 \\(see "conductor approvals"\\)\\.\n$`))
      assert.deepStrictEqual((yield* cli(["approvals", "--json"])).lines.map((line) => line["id"]), [`${run}.1.1`, `${run}.1.2`])
      assert.strictEqual((yield* cli(["approvals", "--json", "--limit", "1"])).lines.length, 1)
      const denied = yield* cli(["deny", `${run}.1.1`, "--comment", "too much", "--json"])
      assert.strictEqual(denied.code, 1)
      assert.deepInclude(denied.lines.find((line) => line.event?._tag === "ApprovalDecided")?.event, { decision: "denied", comment: "too much", by: "local" })
      assert.strictEqual(denied.lines.at(-1)?.event?._tag, "RunParked")
      assert.include(denied.err, `conductor approve ${run}.1.2`)
      const last = yield* cli(["approve", `${run}.1.2`, "--json"])
      assert.deepStrictEqual([last.code, last.lines.at(-1)?.event?._tag], [0, "RunCompleted"])
      assert.deepStrictEqual([refunded("B-1").length, refunded("B-2").length], [0, 1])
      assert.match((yield* cli(["show", run])).out, /✗ refund denied by local: too much/)
    }))

  it.live("shows parameters so that they cannot pass for anything else, and says where they were erased", () =>
    Effect.gen(function*() {
      const { cli, other, url } = yield* world(orders("A\n  agent nobody\u202E", { account: "x", api_key: "y" }), calls("Again.", ["refund", { order: "z".repeat(3_000), dollars: 101 }]))
      const run = runOf((yield* cli(["run", "Pay back", "--agent", "clerk"])).out)
      assert.include((yield* cli(["approvals"])).out, `\n  order: "A\\n  agent nobody\\u{202e}"\n`)
      assert.match((yield* other(["approvals"])).out, /\n {2}account: \[REDACTED\]\n/)
      const long = runOf((yield* cli(["run", "Pay back", "--agent", "clerk"])).out)
      assert.match((yield* cli(["approvals"])).out, /\n {2}order: z{2000} … \(3,000 characters; --json has more\)\n/)
      const erase = Effect.gen(function*() {
        const audit = yield* AuditLog
        for (const one of [run, long]) yield* audit.erase({ org: yield* CurrentOrg, where: { run: Run.RunId.make(one) }, by: "me" })
      })
      yield* Effect.provide(erase, Conductor.layerPostgres({ agents: [], models: scripted(Model.Scripted.make([])), url }))
      assert.match((yield* cli(["approvals"])).out, /^refund .*\n {2}\(what it was asked for was erased\)\n/)
      assert.strictEqual((yield* cli(["approvals", "--json"])).lines[0]?.["parameters"], null)
      const foreign = yield* cli(["deny", `${run}.1.1`, "--org", "acme"])
      assert.deepStrictEqual([foreign.code, foreign.err], [1, `There is no request for approval "${run}.1.1": see "conductor approvals".\n`])
    }))

  it.live("needs the key of the model that goes on, before anything is decided", () =>
    Effect.gen(function*() {
      const { cli } = yield* world(orders("C-1"), says("Done."))
      const run = runOf((yield* cli(["run", "Pay C-1 back", "--agent", "clerk"])).out)
      const keyless = yield* cli(["approve", `${run}.1.1`], { env: { ANTHROPIC_API_KEY: "" } })
      assert.deepStrictEqual([keyless.code, keyless.out], [1, ""])
      assert.match(keyless.err, /^ANTHROPIC_API_KEY is not set/)
      const [waiting] = (yield* cli(["approvals", "--json"])).lines
      assert.strictEqual(waiting?.["id"], `${run}.1.1`)
      yield* cli(["cancel", run])
      const late = yield* cli(["deny", `${run}.1.1`])
      assert.match(late.err, /was decided already \(withdrawn\)/)
    }))

  it.live("leaves the runs of other programs' agents to them", () =>
    Effect.gen(function*() {
      const { other, url } = yield* world(orders("E-1"))
      const post = Tool.make("post", { description: "Posts.", success: Schema.Void, effect: "unsafe", approval: true })
      const agent = Agent.make("postman", {
        instructions: "Post.",
        model: "scripted:test",
        plugins: [Plugin.make("post", { tools: [post], handlers: { post: () => Effect.void } })]
      })
      const models = scripted(Model.Scripted.make((request) => {
        const last = request.messages.flatMap((one) => one.role === "tool" ? one.results.map(({ result }) => result) : one.role === "user" ? [one.text] : [])
        return last.length === 1 ? { toolCalls: [{ name: "post", params: {} }] } : last.slice(1).join(" ")
      }))
      const runtime = Conductor.layerPostgres({ agents: [agent], models, url })
      const run = yield* Effect.tap(Conductor.start(agent, "Post"), (run) => Effect.flip(Conductor.result(run))).pipe(Effect.provide(runtime))
      assert.match((yield* other(["approvals"])).out, /^post .*\n {2}\(no parameters\)\n/)
      const message = yield* other(["send", run, "Hurry", "--json"])
      assert.deepStrictEqual([message.code, message.out], [0, ""])
      assert.strictEqual(message.err, `The message is kept; run ${run} goes on in the process that has the agent "postman", as soon as there is one.\n`)
      // The process of that agent is there while it is decided, and hears of it.
      const { text } = yield* Effect.gen(function*() {
        const done = yield* Effect.forkChild(Stream.runDrain(Conductor.watch(run)))
        const denied = yield* other(["deny", `${run}.1.1`, "--comment", "not today"])
        assert.deepStrictEqual([denied.code, denied.out], [0, `The call is denied; run ${run} goes on in the process that has the agent "postman", as soon as there is one.\n`])
        yield* Fiber.join(done)
        return yield* Conductor.result(run)
      }).pipe(Effect.provide(runtime))
      assert.strictEqual(text, "This call was denied by local: not today Hurry")
    }))

  it.live("leaves them to them on the embedded database too, where they go on", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      let paid = 0
      const pay = Tool.make("pay", { description: "Pays.", success: Schema.Void, effect: "unsafe", approval: true })
      const other = Agent.make("cashier", {
        instructions: "Pay.",
        model: "scripted:test",
        plugins: [Plugin.make("cash", { tools: [pay], handlers: { pay: () => Effect.sync(() => void paid++) } })]
      })
      const runtime = Conductor.layerEmbedded({
        agents: [other],
        models: scripted(Model.Scripted.make([{ toolCalls: [{ name: "pay", params: {} }] }, "Paid."])),
        dir
      })
      const run = yield* Effect.gen(function*() {
        const run = yield* Conductor.start(other, "Pay")
        yield* Effect.flip(Conductor.result(run))
        return run
      }).pipe(Effect.provide(runtime))
      const place = ["--data-dir", dir]
      const said = `The call is approved; run ${run} goes on in the process that has the agent "cashier", as soon as there is one.\n`
      const approved = yield* conductor(["approve", `${run}.1.1`, ...place])
      assert.deepStrictEqual([approved.code, approved.out, approved.err, paid], [0, said, "", 0])
      const again = yield* conductor(["deny", `${run}.1.1`, "--json", ...place])
      assert.match(again.err, /was decided already \(accepted\)/)
      const { text } = yield* Effect.gen(function*() {
        yield* Stream.runDrain(Conductor.watch(run))
        return yield* Conductor.result(run)
      }).pipe(Effect.provide(runtime))
      assert.deepStrictEqual([text, paid], ["Paid.", 1])
    }), 60_000)
})
