#!/usr/bin/env node
// Nothing is imported before the version is known: what the program needs does not load on an old Node.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)

if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`Conductor needs Node 22.19 or newer, and this is Node ${process.versions.node}: install a newer one, best 24.\n`)
  process.exitCode = 1
} else {
  const { launch, program } = await import("./Cli.ts")
  launch(program(process.argv.slice(2)))
}
