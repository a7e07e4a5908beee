/** Numbers of a noisy machine: medians of interleaved rounds, and tables of them. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as v8 from "node:v8"

/** Several measurements of one thing. */
export type Sample = ReadonlyArray<number>

/** The middle one. */
export const median = (sample: Sample): number => {
  const sorted = sample.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  const upper = sorted[half] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2
}

/** A number with three significant digits, or without decimals where it is large. */
export const figure = (value: number): string =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)))

/** `median (min..max)`. */
export const spread = (sample: Sample): string =>
  `${figure(median(sample))} (${figure(Math.min(...sample))}..${figure(Math.max(...sample))})`

/** The median of the ratios of each round: both of a round ran right after one another, on the machine as it was then. */
export const ratios = (above: Sample, below: Sample): Sample => above.map((value, round) => value / (below[round] ?? Number.NaN))

/** Runs each subject once a round, in turns, the order reversed every other round. */
export const interleave = async <K extends string>(
  rounds: number,
  subjects: Readonly<Record<K, (round: number) => Promise<number>>>
): Promise<Record<K, Array<number>>> => {
  const names = Object.keys(subjects) as Array<K> // the keys of a record are its key type
  const out = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<K, Array<number>>
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) out[name].push(await subjects[name](round))
  }
  return out
}

/** Milliseconds that an action takes. */
export const timed = async (action: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await action()
  return performance.now() - start
}

/** Milliseconds that this thread works on an action: what else runs on the machine takes time from it, and not this. */
export const worked = async (action: () => Promise<unknown>): Promise<number> => {
  const before = process.threadCpuUsage()
  await action()
  const { system, user } = process.threadCpuUsage(before)
  return (user + system) / 1000
}

const collect = (): void => {
  if (globalThis.gc === undefined) throw new Error("Run with --expose-gc")
  globalThis.gc()
}

/**
 * Bytes of the JavaScript heap that an action allocates: how much the heap has grown, and what each garbage collection
 * meanwhile took away. Steady within 1 %, unlike time.
 */
export const allocated = async (action: () => Promise<unknown>): Promise<number> => {
  collect()
  const profiler = new v8.GCProfiler()
  const before = v8.getHeapStatistics().used_heap_size
  profiler.start()
  await action()
  const collections = profiler.stop().statistics
  let bytes = v8.getHeapStatistics().used_heap_size - before
  for (const { afterGC, beforeGC } of collections) {
    bytes += beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize
  }
  return bytes
}

export { collect }

/** Prints a table in columns. */
export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  for (const row of all) {
    console.log(`  ${row.map((cell, column) => column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)).join("  ")}`)
  }
}

/** What the figures were measured on. */
export const machine = (): string => {
  const cpus = os.cpus()
  const memory = `${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`
  const versions = ["effect", "@effect/sql-pg", "@electric-sql/pglite"].map((name) => {
    const file = new URL(`../../node_modules/${name}/package.json`, import.meta.url)
    const { version } = JSON.parse(fs.readFileSync(file, "utf8")) as { readonly version: string } // npm writes it so
    return `${name} ${version}`
  })
  return [
    `${cpus[0]?.model.trim() ?? "unknown CPU"}, ${cpus.length} cores, ${memory}, ${os.platform()} ${os.release()}, load ${os.loadavg().map((load) => load.toFixed(1)).join(" ")}`,
    `Node ${process.version}, ${versions.join(", ")}`,
    new Date().toISOString()
  ].join("\n")
}
