import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { isSecretName, redact, redacted, redactLine, redactText, sensitivePaths } from "../../src/AuditLog.ts"
import * as Tool from "../../src/Tool.ts"
import { growth, mostOfLinear } from "../support/growth.ts"

const secrets: ReadonlyArray<string> = [
  "sk-ant-api03-Zx81mQpLw0aVt39sKd7Rb",
  "sk-or-v1-8f0e1d2c3b4a59687766554433221100",
  "sk-proj-Zx81mQpLw0aVt39sKd7Rb",
  "AIzaSyZx81mQpLw0aVt39sKd7Rb2Yc5Nf8Gh1J",
  "ghp_Zx81mQpLw0aVt39sKd7Rb2Yc5Nf8",
  "github_pat_11ABCDEFG0Zx81mQpLw0aVt39s",
  "AKIAIOSFODNN7EXAMPLE",
  "xoxb-123456789012-abcdefGHIJKL",
  "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
  "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAZx81mQpLw0aVt39sKd7Rb\n-----END RSA PRIVATE KEY-----"
]

/** The part of each that must not be seen. */
const heart = (secret: string): string => secret.includes("PRIVATE") ? "MIIEowIBAAKCAQEAZx81" : secret.slice(6, 26)

const secretNames: ReadonlyArray<string> = [
  "api_key", "apikey", "api-key", "apiKey", "API_KEY", "X-Api-Key", "password", "Passwd", "dbPassword", "dbpassword", "secret",
  "clientSecret", "client_secret", "token", "access_token", "accessTokens", "refreshToken", "auth", "Authorization", "credential",
  "credentials", "awsCredentials", "private key", "privateKey", "private_key_2", "cookie", "Set-Cookie", "secretKey", "aws_secret_access_key"
]

const innocentNames: ReadonlyArray<string> = [
  "monkey", "keyboard", "tokens_used", "tokens", "author", "authors", "keywords", "keyword", "primary_key", "foreignKey", "key", "turkey",
  "tokenizer", "token_count", "maxTokens", "secretary", "passenger", "password_policy", "auth_type", "cookies_enabled", "authority",
  "sessionId", "keyId", "id"
]

const Leaf = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean, Schema.Null])
const Nested = Schema.Union([
  Leaf,
  Schema.Array(Leaf),
  Schema.Record(Schema.String, Schema.Union([Leaf, Schema.Array(Schema.Record(Schema.String, Leaf))]))
])
const AnyText = Schema.String
const Index = (length: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: length - 1 }))

/** Puts a value somewhere inside: under names, in arrays, and as JSON inside a string, as the steps say. */
const bury = (value: unknown, steps: ReadonlyArray<number>, beside: unknown): unknown =>
  steps.reduce<unknown>((inner, step) => {
    switch (step) {
      case 0:
        return { note: inner, beside }
      case 1:
        return [beside, inner]
      case 2:
        return typeof inner === "string" ? `before ${inner} after` : { inner }
      default:
        return JSON.stringify({ inner })
    }
  }, value)
const Steps = Schema.Array(Index(4)).check(Schema.isMaxLength(6))

describe("redact", () => {
  it.prop("hides a secret by its look wherever it is", { which: Index(secrets.length), steps: Steps, beside: Nested }, ({ beside, steps, which }) => {
    const secret = secrets[which] ?? ""
    const out = JSON.stringify(redact(bury(secret, steps, beside)))
    assert.notInclude(out, heart(secret))
    assert.include(out, redacted)
  })

  it.prop("hides what has a secret's name wherever it is", {
    which: Index(secretNames.length),
    steps: Steps,
    beside: Nested
  }, ({ beside, steps, which }) => {
    const value = "hunter2-Zx81mQ"
    for (const secret of [value, { deep: [value] }, [value]]) {
      const out = JSON.stringify(redact(bury({ [secretNames[which] ?? ""]: secret }, steps, beside)))
      assert.notInclude(out, value)
    }
  })

  it.prop("leaves innocent names and plain values alone", { which: Index(innocentNames.length), steps: Steps }, ({ steps, which }) => {
    const value = { [innocentNames[which] ?? ""]: "plain value", count: 3, ok: true, none: null }
    const buried = bury(value, steps, "beside")
    assert.strictEqual(redact(buried), buried)
  })

  it.prop("is idempotent and total", { value: Nested, which: Index(secrets.length), steps: Steps, text: AnyText }, ({ steps, text, value, which }) => {
    for (const given of [value, text, bury(`${text}${secrets[which]}${text}`, steps, value), `${text}=${JSON.stringify(value)}; token: ${text}`]) {
      const once = redact(given)
      assert.deepStrictEqual(redact(once), once)
      assert.strictEqual(JSON.stringify(JSON.parse(JSON.stringify(once))), JSON.stringify(once))
    }
  })

  it("judges names by their words", () => {
    for (const name of secretNames) assert.isTrue(isSecretName(name), name)
    for (const name of innocentNames) assert.isFalse(isSecretName(name), name)
    assert.isTrue(isSecretName(`${"a ".repeat(50)}password${" x".repeat(500)}`))
  })

  it("hides what text says by name, scheme or connection", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["Authorization: Bearer abcdef123456", "abcdef123456"],
      ["curl -H 'authorization: Basic dXNlcjpwYXNzd29yZDEyMw=='", "dXNlcjpwYXNzd29yZDEyMw"],
      ["postgres://user:pw-of-mine@db.example.com/x", "pw-of-mine"],
      ["https://example.com/?api_key=abc-def&x=1", "abc-def"],
      ["{\"password\": \"a\\\"b-c-d\", cut", "b-c-d"],
      ["{\\\"password\\\":\\\"in-a-string\\\"}", "in-a-string"],
      ["password='quoted-one' next", "quoted-one"],
      ["-----BEGIN PRIVATE KEY-----\nMIIEneverclosed", "MIIEneverclosed"],
      ["{\"a\":\"sk-ant-api03-Zx81mQpLw0aVt39sKd7Rb\",\"a\":1}", "Zx81mQpLw0aVt39sKd7Rb"]
    ]
    for (const [text, secret] of cases) {
      const out = JSON.stringify(redact(text))
      assert.notInclude(out, secret)
      assert.include(out, redacted)
    }
    const plain = "Lisbon: rain at 12:30, see https://example.com/a?b=c. Basic things: bearer of news; token = null"
    assert.strictEqual(redactText(plain), plain)
    assert.strictEqual(redact("{\"a\":1.0}"), "{\"a\":1.0}")
  })

  it("is bounded, and marks what it leaves out", () => {
    let deep: unknown = "end"
    for (let i = 0; i < 100_000; i++) deep = [deep]
    assert.include(JSON.stringify(redact(deep)), "too deep")
    const wide = redact({ list: Array.from({ length: 20_000 }, (_, i) => i), token: "x" })
    assert.include(JSON.stringify(wide), "too many values")
    assert.deepStrictEqual(redact(wide), wide)
    const manyNames = redact(Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`n${i}`, i])))
    assert.include(JSON.stringify(manyNames), "too many values")
    assert.deepStrictEqual(redact(manyNames), manyNames)
    assert.strictEqual(redact("x".repeat(65_537)), "[LEFT OUT: text too long]")
    assert.include(JSON.stringify(redact({ ["n".repeat(1_001)]: 1 })), "too long")
  })

  it("takes anything", () => {
    const throws = Object.defineProperty({}, "boom", { enumerable: true, get: () => { throw new Error("boom") } })
    assert.strictEqual(redact(throws), "[LEFT OUT: not JSON]")
    assert.deepStrictEqual(redact([undefined, () => 1, 1n, Symbol("s"), Infinity]), [
      null, "[LEFT OUT: not JSON]", "[LEFT OUT: not JSON]", "[LEFT OUT: not JSON]", null
    ])
    assert.strictEqual(redact("a\0b\uD800"), "a\uFFFDb\uFFFD")
    assert.deepStrictEqual(redact({ password: null, token: true }), { password: null, token: true })
  })

  it("hides what a path points at", () => {
    assert.deepStrictEqual(
      redact({ who: { ssn: "1", name: "A" }, list: [{ pin: 1, other: 2 }] }, [["who", "ssn"], ["list", "*", "pin"]]),
      { who: { ssn: redacted, name: "A" }, list: [{ pin: redacted, other: 2 }] }
    )
    assert.strictEqual(redact("anything", [[]]), redacted)
  })

  it("is linear: hostile text takes no longer than other text", () => {
    for (const piece of ["a", "-----BEGIN PRIVATE KEY-----", "a:", "x://a:", "password=\"", "token:[", "token:{\\\"", "eyJaaaaaaaa.", "bearer "]) {
      assert.isBelow(growth(7_500, (length) => redact(piece.repeat(Math.floor(length / piece.length)))), mostOfLinear, piece)
    }
  })
})

describe("redactLine", () => {
  it("cuts and marks", () => {
    assert.strictEqual(redactLine("short", 10), "short")
    assert.strictEqual(redactLine("x".repeat(20), 10), `${"x".repeat(9)}…`)
    assert.strictEqual(redactLine(`${"word ".repeat(1_000)}`, 10), "word word…")
  })

  it.prop("never shows half a secret at the cut", {
    before: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 900 })),
    which: Index(secrets.length)
  }, ({ before, which }) => {
    const secret = secrets[which] ?? ""
    const text = `password="${"p".repeat(700)}" ${"a ".repeat(before >> 1)}${secret} ${"tail ".repeat(400)}`
    assert.notInclude(redactLine(text, 100), heart(secret).slice(0, 12))
  })
})

describe("sensitivePaths", () => {
  it("finds marks in structs, arrays, records, unions, optionals, transformations and recursion", () => {
    interface Tree {
      readonly pin: string
      readonly next: Tree | null
    }
    const Tree = Schema.Struct({
      pin: Tool.sensitive(Schema.String),
      next: Schema.NullOr(Schema.suspend((): Schema.Codec<Tree> => Tree))
    })
    const paths = sensitivePaths(Schema.Struct({
      plain: Schema.String,
      top: Tool.sensitive(Schema.String),
      checked: Tool.sensitive(Schema.String.check(Schema.isMinLength(1))),
      checkedAfter: Tool.sensitive(Schema.String).check(Schema.isMinLength(1)),
      maybe: Schema.optionalKey(Tool.sensitive(Schema.String)),
      maybeToo: Schema.optional(Tool.sensitive(Schema.String)),
      number: Tool.sensitive(Schema.NumberFromString),
      nested: Schema.Struct({ deep: Schema.Array(Schema.Struct({ pin: Tool.sensitive(Schema.Int) })) }),
      record: Schema.Record(Schema.String, Tool.sensitive(Schema.String)),
      either: Schema.Union([Schema.Struct({ a: Tool.sensitive(Schema.String) }), Schema.Null]),
      hidden: Schema.RedactedFromValue(Schema.String),
      set: Schema.ReadonlySet(Tool.sensitive(Schema.String)),
      pair: Schema.Tuple([Schema.String, Tool.sensitive(Schema.String)]),
      tree: Tree
    }))
    assert.sameDeepMembers([...paths], [
      ["top"], ["checked"], ["checkedAfter"], ["maybe"], ["maybeToo"], ["number"], ["nested", "deep", "*", "pin"], ["record", "*"],
      ["either", "a"], ["hidden"], ["set"], ["pair", "*"], ["tree", "pin"], ["tree", "next"]
    ])
    assert.deepStrictEqual(sensitivePaths(Schema.Struct({ a: Schema.String })), [])
    assert.deepStrictEqual(sensitivePaths(Tool.sensitive(Schema.String)), [[]])
  })
})

