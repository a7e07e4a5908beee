/**
 * Checks the package as its users get it: packs it, installs the tarball into an empty folder, compiles there a program
 * that imports the five names, runs it, and starts the installed `conductor`.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "../..")
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "conductor-package-"))
const run = (command: string, args: ReadonlyArray<string>, cwd: string) =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

const program = `
import { Agent, Conductor, Model, Org, Plugin, Run, Tool } from "conductor-ai"
import { ConductorClient } from "conductor-ai/client"
import * as Server from "conductor-ai/server"
import * as testing from "conductor-ai/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as HttpServer from "effect/http/HttpServer"
import * as Schema from "effect/Schema"

const Double = Tool.make("double", {
  description: "Doubles a number.",
  parameters: Schema.Struct({ n: Schema.Int }),
  success: Schema.Int,
  effect: "pure"
})
const math = Plugin.make("math", { tools: [Double], handlers: { double: ({ n }) => Effect.succeed(n * 2) } })
const agent = Agent.make("mathematician", { instructions: "Calculate.", model: Model.of("anthropic:claude-sonnet-5-5"), plugins: [math] })
const model = testing.script([
  { toolCalls: [{ name: "double", params: { n: 21 } }] },
  (request) => {
    const last = request.messages.at(-1)
    return last?.role === "tool" ? \`It is \${last.results[0]?.result}.\` : "?"
  }
])
const answer: string = await Effect.runPromise(
  Effect.map(Conductor.run(agent, "Twice 21?"), (result) => result.output).pipe(
    Effect.provide(testing.layer({ agents: [agent], model }))
  )
)
if (answer !== "It is 42.") throw new Error(answer)

const served = await Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const { key } = yield* (yield* Org.Keys).bootstrap(Option.none())
  const client = ConductorClient.layerFetch({ url: HttpServer.formatAddress(address), key: Option.getOrThrow(key).key })
  const dashboard = yield* Server.link(Run.OrgId.make("local"))
  const page = yield* Effect.promise(() => fetch(Redacted.value(dashboard), { redirect: "manual" }))
  if (page.status !== 303) throw new Error(\`the dashboard answered \${page.status}\`)
  return yield* Effect.provide(Effect.flatMap(ConductorClient, ({ run }) => run({ agent: "mathematician", input: "Twice 21?" })), client)
}).pipe(
  Effect.provide(Server.layer({ port: 0 }).pipe(Layer.provideMerge(testing.layer({ agents: [agent], model })))),
  Effect.runPromise
)
if (served.text !== "It is 42.") throw new Error(String(served.text))
`

try {
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", folder], root).replace(/^[^[]*/, "")) as
    ReadonlyArray<{ readonly filename: string; readonly size: number; readonly entryCount: number; readonly files: ReadonlyArray<{ readonly path: string }> }>
  if (packed === undefined) throw new Error("npm pack said nothing")
  const stray = packed.files.filter(({ path: file }) => !/^(dist|sql|src\/dashboard\/\w+\.(?:css|html|js)$|src\/plugins\/demo\/dealers\.csv|README\.md|LICENSE|package\.json)/.test(file))
  if (stray.length > 0) throw new Error(`the package holds what it should not: ${stray.map((file) => file.path).join(", ")}`)
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }))
  // The types of Node are the user's own, as in any program for Node.
  const { devDependencies } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as { devDependencies: Record<string, string> }
  const types = `@types/node@${devDependencies["@types/node"]}`
  run("npm", ["install", "--no-audit", "--no-fund", path.join(folder, packed.filename), types], folder)
  fs.writeFileSync(path.join(folder, "program.ts"), program)
  const options = { module: "nodenext", target: "es2024", strict: true, exactOptionalPropertyTypes: true, types: ["node"], outDir: "out", skipLibCheck: false }
  fs.writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["program.ts"] }))
  run(path.join(root, "node_modules/.bin/tsc"), ["-p", folder], folder)
  run(process.execPath, ["out/program.js"], folder)
  const version = run(process.execPath, ["node_modules/conductor-ai/dist/main.js", "--version"], folder).trim()
  const rows = run(process.execPath, ["node_modules/conductor-ai/dist/main.js", "demo", "--data-dir", "data"], folder)
  if (!rows.includes("chain verified")) throw new Error(`the installed demo said:\n${rows}`)
  console.log(`package: ${packed.filename}, ${Math.round(packed.size / 1024)} kB, ${packed.entryCount} files; a program compiled and ran on it; ${version}; its demo verified`)
} finally {
  fs.rmSync(folder, { recursive: true, force: true })
}
