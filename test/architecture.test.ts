import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"

/**
 * The rooms, from the ground up: a room imports lower floors only, and on its own floor nothing but itself. The parts of
 * `X.ts` are in `X/` and reached through `X.ts` alone.
 */
const floors: ReadonlyArray<ReadonlyArray<string>> = [
  ["Money", "Run"],
  ["Database", "Model", "Tool"],
  ["RunLog", "Tools"],
  ["AuditLog", "Org"],
  ["Approval", "Budget", "Idempotency", "Inbox", "Outcomes", "Session"],
  ["Ledger", "Memory", "Telemetry"],
  ["Plugin", "Agent", "Api"],
  ["Runs"],
  ["Conductor"],
  ["index", "testing"],
  ["plugins", "Server", "client", "dashboard"],
  ["Cli"],
  ["main"]
]

/** Rooms of one floor that know each other: events carry money, an agent has plugins, and the program brings a demo. */
const neighbours = new Set(["Org → AuditLog", "Run → Money", "Agent → Plugin", "Cli → plugins"])

/** May reach into any folder: they wire the house. */
const wiring = new Set(["index", "testing", "Conductor", "main"])

const src = path.resolve(import.meta.dirname, "../src")

const files = fs.readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => /\.(?:ts|js)$/.test(file))

const importsOf = (file: string): ReadonlyArray<string> => {
  const text = fs.readFileSync(path.join(src, file), "utf8")
  const found = [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) => match[1] ?? "")
  return found.filter((name) => /\.(?:ts|js)$/.test(name)).map((name) => path.join(path.dirname(file), name))
}

const roomOf = (file: string): string => (file.split(path.sep)[0] ?? "").replace(/\.ts$/, "")
const floorOf = (room: string): number => floors.findIndex((floor) => floor.includes(room))
const edges = files.flatMap((file) => importsOf(file).map((to) => ({ from: file, to })))

describe("the house", () => {
  it("has a floor for every room", () => {
    assert.deepStrictEqual([...new Set(files.map(roomOf))].filter((room) => floorOf(room) === -1), [])
  })

  it("has no arrow that runs up or across", () => {
    const wrong = edges.filter(({ from, to }) => {
      const [a, b] = [roomOf(from), roomOf(to)]
      return a !== b && floorOf(b) >= floorOf(a) && !neighbours.has(`${a} → ${b}`)
    })
    assert.deepStrictEqual(wrong, [])
  })

  it("has no trespass into another noun's folder", () => {
    const wrong = edges.filter(({ from, to }) =>
      to.includes(path.sep) && roomOf(from) !== roomOf(to) && !wiring.has(roomOf(from)) && roomOf(to) !== "plugins" &&
      // The contract carries the errors of rooms without their implementation.
      !(roomOf(from) === "Api" && path.basename(to) === "Error.ts")
    )
    assert.deepStrictEqual(wrong, [])
  })

  it("lets plugins use the SDK and nothing else of ours", () => {
    const wrong = edges.filter(({ from, to }) => roomOf(from) === "plugins" && roomOf(to) !== "plugins" && to !== "index.ts")
    assert.deepStrictEqual(wrong, [])
  })

  it("lets the dashboard know the contract's types, and load nothing but itself", () => {
    const own = edges.filter(({ from }) => roomOf(from) === "dashboard")
    assert.deepStrictEqual([...new Set(own.map(({ to }) => roomOf(to)))].toSorted(), ["Api", "dashboard"])
    const loaded = files.filter((file) => roomOf(file) === "dashboard").flatMap((file) =>
      [...fs.readFileSync(path.join(src, file), "utf8").matchAll(/^import .*from "([^"]+)"/gm)].map((match) => match[1] ?? ""))
    assert.deepStrictEqual(loaded.filter((name) => !/^\.\/\w+\.js$/.test(name)), [])
  })

  it("has no circle of imports that run when a module loads", () => {
    const runs = new Map(files.map((file) => {
      const text = fs.readFileSync(path.join(src, file), "utf8").replaceAll(/(?:import|export) type [^;]*?from "[^"]+"/g, "")
      const names = [...text.matchAll(/^(?:import|export)\s+(?!type)[\s\S]*?from "(\.[^"]+\.ts)"/gm)].map((match) => match[1] ?? "")
      return [file, names.map((name) => path.join(path.dirname(file), name))] as const
    }))
    const circles: Array<string> = []
    const done = new Set<string>()
    const walk = (file: string, trail: ReadonlyArray<string>) => {
      if (trail.includes(file)) return void circles.push([...trail.slice(trail.indexOf(file)), file].join(" → "))
      if (done.has(file)) return
      for (const next of runs.get(file) ?? []) walk(next, [...trail, file])
      done.add(file)
    }
    for (const file of files) walk(file, [])
    assert.deepStrictEqual(circles, [])
  })

  it("keeps the contract and its client apart from every implementation, and from Node", () => {
    const seen = new Set<string>()
    const outside: Array<string> = []
    const walk = (file: string) => {
      if (seen.has(file)) return
      seen.add(file)
      const text = fs.readFileSync(path.join(src, file), "utf8").replaceAll(/(?:import|export) type [^;]*?from "[^"]+"/g, "")
      const names = [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1] ?? "")
      outside.push(...names.filter((name) => /^node:|^@effect|^effect\/sql/.test(name)).map((name) => `${file} → ${name}`))
      for (const name of names.filter((name) => name.startsWith("."))) walk(path.join(path.dirname(file), name))
    }
    for (const root of ["Api.ts", "client.ts"]) if (files.includes(root)) walk(root)
    assert.deepStrictEqual(outside, [])
    const rooms = [...new Set([...seen].map((file) => path.basename(file) === "Error.ts" ? "errors" : roomOf(file)))]
    assert.deepStrictEqual(rooms.filter((room) => !["Api", "client", "errors", "Money", "Run"].includes(room)), [])
  })

  it("names the top level of the repository", () => {
    const top = fs.readdirSync(path.resolve(src, "..")).filter((name) => !name.startsWith("."))
    const known = ["BACKLOG.md", "Dockerfile", "LICENSE", "README.md", "coverage", "dist", "node_modules", "package-lock.json",
      "package.json", "sql", "src", "test", "tsconfig.build.json", "tsconfig.json", "vitest.config.ts"]
    assert.deepStrictEqual(top.filter((name) => !known.includes(name)), [])
  })
})
