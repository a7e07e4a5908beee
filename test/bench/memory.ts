/** What a step costs in memory: time and allocation, beside the same work written by hand. Started by `main.ts` as a process of its own. */
import { Effect, ManagedRuntime } from "effect"
import { Conductor } from "../../src/index.ts"
import { allocated, collect, interleave, median, ratios, spread, table, worked } from "./measure.ts"
import { agent, conductorRuns, effectLoop, isAudited, optionsOf, partsOf, plainLoop, providerOf, steps, unlimited } from "./subject.ts"

/**
 * A fresh runtime for each round, because what it keeps of its runs goes with it; warm, because code that was compiled for the one before
 * is thrown away with it.
 */
const withConductor = async (use: (runtime: ManagedRuntime.ManagedRuntime<Conductor, unknown>) => Promise<number>) => {
  const runtime = ManagedRuntime.make(Conductor.layerMemory(optionsOf()))
  try {
    await runtime.runPromise(conductorRuns(200, 1))
    collect()
    return await use(runtime)
  } finally {
    await runtime.dispose()
  }
}

const measure = async (rounds: number) => {
  const turns = partsOf()
  const provider = providerOf()
  const plain = async (runs: number) => {
    for (let run = 0; run < runs; run++) await plainLoop(turns)
  }
  const loop = (runs: number) => Effect.runPromise(Effect.repeat(effectLoop(provider), { times: runs - 1 }))
  const [many, few] = [800, 200]
  const perStep = (value: number, runs: number, unit: number) => value * unit / (runs * steps)

  await plain(many)
  await loop(many)
  for (let warm = 0; warm < 3; warm++) await withConductor((runtime) => worked(() => runtime.runPromise(conductorRuns(few, 1))))

  const quiet = (action: () => Promise<unknown>) => {
    collect()
    return worked(action)
  }
  const time = await interleave(rounds, {
    plain: async () => perStep(await quiet(() => plain(many)), many, 1000),
    loop: async () => perStep(await quiet(() => loop(many)), many, 1000),
    conductor: () => withConductor(async (runtime) => perStep(await worked(() => runtime.runPromise(conductorRuns(few, 1))), few, 1000)),
    unlimited: () => withConductor(async (runtime) => perStep(await worked(() => runtime.runPromise(conductorRuns(few, 1, unlimited))), few, 1000))
  })
  const spaceOf = (performer: typeof agent) =>
    withConductor(async (runtime) => perStep(await allocated(() => runtime.runPromise(conductorRuns(few, 1, performer))), few, 1 / 1024))
  const space = await interleave(5, {
    plain: async () => perStep(await allocated(() => plain(many)), many, 1 / 1024),
    loop: async () => perStep(await allocated(() => loop(many)), many, 1 / 1024),
    conductor: () => spaceOf(agent),
    unlimited: () => spaceOf(unlimited)
  })
  const audited = await withConductor((runtime) => runtime.runPromise(Effect.map(isAudited, Number)))

  console.log(`Memory: a run of ${steps} steps and an answer, one run at a time; CPU time of the thread, medians of ${rounds} interleaved rounds, allocation of 5.`)
  console.log(`Conductor in memory with a run budget, spans and audit ${audited === 1 ? "on" : "NOT WIRED"}; allocation from V8's GC profiler and heap statistics.`)
  const row = (name: string, key: keyof typeof time) => [
    name,
    spread(time[key]),
    spread(space[key]),
    `${spread(ratios(time[key], time.loop))}`,
    `${median(ratios(space[key], space.loop)).toFixed(1)}`
  ]
  table(["", "µs/step", "kB/step", "time / Effect loop", "kB / Effect loop"], [
    row("plain async loop", "plain"),
    row("Effect loop by hand", "loop"),
    row("Conductor", "conductor"),
    row("  without a budget", "unlimited")
  ])
  const ratio = median(ratios(time.conductor, time.loop))
  console.log(`  goal: at most 6 times the Effect loop: ${ratio <= 6 ? "met" : "MISSED"} (${ratio.toFixed(1)})`)
}

await measure(Number(process.argv[2] ?? 11))
