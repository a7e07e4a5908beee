import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { statementsOf } from "../../src/Database/Statements.ts"

const texts = (sql: string) => statementsOf(sql).map((statement) => statement.text)

describe("statementsOf", () => {
  it("separates statements at semicolons and says where they begin", () => {
    assert.deepStrictEqual(statementsOf("select 1;\n\n  -- two\nselect\n  2 ;\nselect 3"), [
      { text: "select 1", line: 1 },
      { text: "select\n  2", line: 4 },
      { text: "select 3", line: 6 }
    ])
  })

  it("finds nothing in blanks, comments and lone semicolons", () => {
    assert.deepStrictEqual(statementsOf(""), [])
    assert.deepStrictEqual(statementsOf(" ;; -- a;b\n /* c; /* nested; */ d; */ ;"), [])
    assert.deepStrictEqual(statementsOf("/* never closed; select 1;"), [])
    assert.deepStrictEqual(statementsOf("-- no line end; select 1;"), [])
  })

  it("leaves semicolons in strings, names, dollar quotes and comments alone", () => {
    const whole = [
      "select 'a;''b;'",
      "select E'a\\';b'",
      "select e'\\\\' || ';'",
      "select 'back\\'",
      "select \"a;\"\"b\"",
      "select $$ a; $x$ b; $$",
      "select $tag$ a; $$ b; $tag$",
      "select /* ; */ 1 -- ;\n + 2",
      "select $1, a$b, 'x'",
      "select some_e';'",
      "select 'never closed ;",
      "do $$ begin null; end $$"
    ]
    for (const one of whole) assert.deepStrictEqual(texts(`${one}`), [one])
    const closed = whole.filter((one) => !one.includes("never"))
    assert.deepStrictEqual(texts(closed.join(";\n")), closed)
  })

  it("keeps the commands of a rule and the body of an SQL function together", () => {
    const whole = [
      "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); INSERT INTO u VALUES (2))",
      "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN 1 ELSE 2 END; SELECT 2; END",
      "CREATE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); END",
      "SELECT 1"
    ]
    assert.deepStrictEqual(texts(whole.join(";\n")), whole)
    assert.deepStrictEqual(texts("select 1); select 2"), ["select 1)", "select 2"])
  })

  const piece = Schema.Literals([
    "select 1", "select ';'", "do $a$ x; $a$", "select \";\"", "insert into t values (';', $$;$$)", "select 1 /* ; */ + 1"
  ])
  const gap = Schema.Literals([";", " ;\n", ";;", "; -- ;'\n", "; /* ;\" */\n"])

  it.prop("gives back every statement of a file that was put together from statements", [Schema.Array(Schema.Tuple([piece, gap]))], ([pairs]) => {
    assert.deepStrictEqual(texts(pairs.map(([one, end]) => one + end).join("")), pairs.map(([one]) => one))
  })
})
