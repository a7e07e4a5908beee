import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import { Agents } from "../../src/Cli/Agents.ts"
import { calls, conductor, hangs, type Options, says } from "../support/cli.ts"
import { withClerk } from "../support/clerk.ts"
import { freshPostgres } from "../support/databases.ts"
import { replay, type Script } from "../support/replay.ts"

const world = Effect.fnUntraced(function*(...scripts: ReadonlyArray<Script>) {
  const { url } = yield* freshPostgres()
  const server = yield* replay(...scripts)
  const env = { DATABASE_URL: Redacted.value(url), ANTHROPIC_API_KEY: "sk-test-secret", ANTHROPIC_BASE_URL: server.url }
  const cli = (args: ReadonlyArray<string>, options: Options = {}) =>
    conductor(args, { ...options, env }).pipe(Effect.provideService(Agents, withClerk))
  /** Begins a run that is left alone once it has said something, and gives its id. */
  const begun = Effect.fnUntraced(function*(said: string, ...args: ReadonlyArray<string>) {
    let out = ""
    const fiber = yield* Effect.forkChild(cli(["run", ...args, "--json"], { onOut: (all) => void (out = all) }))
    yield* Effect.sleep("20 millis").pipe(Effect.repeat({ until: () => out.includes(said) }))
    return { fiber, run: /"run":"([0-9a-f-]{36})"/.exec(out)?.[1] ?? "none" }
  })
  return { cli, server, begun }
})

describe("conductor send", () => {
  it.live("tells a run of another process, as it is told to", () =>
    Effect.gen(function*() {
      const { begun, cli, server } = yield* world(hangs)
      const { fiber, run } = yield* begun("Well,", "Wait")
      const rejected = yield* cli(["send", run, "Hurry", "--reject"])
      assert.deepStrictEqual([rejected.code, rejected.out], [1, ""])
      assert.match(rejected.err, /it is at work and takes no message now; wait, or send with another mode\.\n$/)
      const queued = yield* cli(["send", run, "And then rest", "--queue", "--json"])
      assert.deepStrictEqual([queued.code, queued.out], [0, ""])
      assert.strictEqual(queued.err, `The message is kept; run ${run} is performed by another process, where it is heard once the agent has nothing more to do.\n`)
      server.play(says("I hurry."), says("I rest."))
      const interrupting = yield* cli(["send", run, "-", "--interrupt"], { stdin: "Hurry" })
      assert.strictEqual(interrupting.out, `The message is kept; run ${run} is performed by another process, where it is heard at once.\n`)
      const { code, lines } = yield* Fiber.join(fiber)
      assert.strictEqual(code, 0)
      const told = lines.flatMap(({ event }) => event?._tag === "MessageReceived" ? [[event["text"], event["mode"]]] : [])
      assert.deepStrictEqual(told, [["And then rest", "queue"], ["Hurry", "interrupt"]])
      const over = yield* cli(["send", run, "Hello?"])
      assert.deepStrictEqual([over.code, over.err], [1, `Run ${run}: it is completed, so it takes no commands; start another run in its session.\n`])
    }))

  it.live("goes on here with a run that nobody performs", () =>
    Effect.gen(function*() {
      const { begun, cli, server } = yield* world(hangs)
      const { fiber, run } = yield* begun("Well,", "Wait")
      yield* Fiber.interrupt(fiber)
      assert.match((yield* cli(["runs"])).out, new RegExp(`${run} .* parked \\(shutdown\\)`))
      server.play(says("I hurry."))
      const sent = yield* cli(["send", run, "Hurry"])
      assert.strictEqual(sent.code, 0)
      assert.match(sent.out, /^› local: Hurry\nI hurry\.\n\n✓ completed/)
    }))
})

describe("conductor resolve", () => {
  it.live("refuses what is not in doubt, and goes on as it is told", () =>
    Effect.gen(function*() {
      const { begun, cli } = yield* world(calls("I write.", ["letter", { to: "ann@example.com" }]), says("Not posted."))
      const { fiber, run } = yield* begun("post office", "Write to Ann", "--agent", "clerk")
      yield* Fiber.interrupt(fiber)
      const wrong = yield* cli(["resolve", run, "toolu_7", "--happened"])
      assert.deepStrictEqual([wrong.code, wrong.err], [1, `Run ${run}: the outcome of its call "toolu_7" is not in doubt (in doubt: toolu_1).\n`])
      const again = yield* cli(["retry", run])
      assert.strictEqual(again.code, 1)
      assert.include(again.err, `conductor resolve ${run} toolu_1 --happened`)
      const resolved = yield* cli(["resolve", run, "toolu_1", "--did-not-happen", "--json"])
      assert.strictEqual(resolved.code, 0)
      assert.deepInclude(resolved.lines.find((line) => line.event?._tag === "ToolResolved")?.event, { call: "toolu_1", resolution: "did-not-happen", by: "local" })
      const late = yield* cli(["resolve", run, "toolu_1", "--run-again"])
      assert.deepStrictEqual([late.code, /is not in doubt \(in doubt: none\)/.test(late.err)], [1, true])
    }))
})
