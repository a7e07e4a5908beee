/**
 * The test kit: agents run on a scripted model, in memory or on a database, with time and chance in the test's hands.
 *
 * ```ts
 * layer(testing.layer({ agents: [assistant], model: testing.script([
 *   { toolCalls: [{ name: "weather", params: { city: "Lisbon" } }] },
 *   (request) => `It is ${request.messages.length} messages later.`
 * ]) }))("assistant", (it) => {
 *   it.effect("asks for the weather", () => Effect.gen(function*() {
 *     const { run } = yield* Conductor.run(assistant, "Will it rain?")
 *     const calls = yield* testing.toolCalls(run)
 *     …
 *   }))
 * })
 * ```
 *
 * {@link CrashMatrix} lets the process of a program die everywhere, resumes what it left, and checks it. {@link Export} keeps
 * a stored run as a document, and {@link Replay} runs the agent of today on it.
 */
export * from "./testing/Check.ts"
export * as CrashMatrix from "./testing/CrashMatrix.ts"
export * as Export from "./testing/Export.ts"
export * from "./testing/Layers.ts"
export * as Replay from "./testing/Replay.ts"
