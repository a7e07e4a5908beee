import { assert, describe, it } from "@effect/vitest"
import { Cause } from "effect"
import { nonsense } from "../../src/Cli/Environment.ts"
import { Ended, failed, oneLine, reportOf, usage } from "../../src/Cli/Failure.ts"
import { ForbiddenModel, StorageFailed } from "../../src/Run.ts"

describe(".env", () => {
  it("has its lines without sense found, and no others", () => {
    assert.deepStrictEqual(nonsense("A=1\n# note\n\nexport B = two words\r\nC='x'\n"), [])
    assert.deepStrictEqual(nonsense("A=1\nhello there\n{ \"json\": 1 }\nB=2"), [2, 3])
    assert.deepStrictEqual(nonsense("KEY=\"line one\nline two\nline three\"\nnonsense"), [4])
    assert.deepStrictEqual(nonsense("A='it\nB=2"), [])
    assert.deepStrictEqual(nonsense("\u0000\u0001binary"), [1])
  })
})

describe("reportOf", () => {
  const report = (cause: Cause.Cause<unknown>, debug = false) => reportOf(cause, debug)

  it("gives what can be expected as its sentence, on one line, without a password", () => {
    const storage = new StorageFailed({ operation: "append", problem: "postgres://me:p/w@host:5432/db\n is gone" })
    assert.deepStrictEqual(report(Cause.fail(storage)), {
      code: 1,
      sentence: "The database failed (append): postgres://…@host:5432/db is gone"
    })
    assert.strictEqual(report(Cause.fail(new ForbiddenModel({ model: "x" }))).code, 2)
    assert.deepStrictEqual(report(Cause.fail(usage("Wrong."))), { code: 2, sentence: "Wrong." })
    assert.deepStrictEqual(report(Cause.fail(failed("Bad."))), { code: 1, sentence: "Bad." })
    assert.strictEqual(new Ended({ code: 3, sentence: "So." }).message, "So.")
    assert.deepStrictEqual(report(Cause.fail("text")), { code: 1, sentence: "text" })
    assert.deepStrictEqual(report(Cause.fail(new Error("plain"))), { code: 1, sentence: "plain" })
    assert.deepStrictEqual(report(Cause.interrupt(1)), { code: 1, sentence: "" })
  })

  it("says of a defect how to learn more, and shows its stack only when asked", () => {
    const { code, sentence } = report(Cause.die(new Error("boom\nmore")))
    assert.strictEqual(code, 1)
    assert.strictEqual(
      sentence,
      "Conductor broke in a way that it should not (boom more): run it again with --log-level debug or CONDUCTOR_DEBUG=1 for the stack."
    )
    assert.include(report(Cause.die("odd")).sentence, "(odd)")
    assert.match(report(Cause.die(new Error("boom")), true).sentence, /\n.*boom[^]*at /)
  })

  it("leaves the example of a URL alone", () => {
    assert.strictEqual(oneLine("write postgres://user:password@host"), "write postgres://user:password@host")
  })
})
