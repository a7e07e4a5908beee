/** Chance from a seed: what happens in a test or a campaign follows from its seed and from nothing else. */
import { createHash } from "node:crypto"

type Part = string | number

/** A number from 0 up to, but not, 1: the same for the same parts. */
export const chance = (...parts: ReadonlyArray<Part>): number =>
  createHash("sha256").update(parts.join("/")).digest().readUInt32BE(0) / 2 ** 32

/** A whole number from `least` to `most`. */
export const between = (least: number, most: number, ...parts: ReadonlyArray<Part>): number =>
  least + Math.floor(chance(...parts) * (most - least + 1))

/** One of several, each as likely as another. */
export const pick = <A>(from: readonly [A, ...ReadonlyArray<A>], ...parts: ReadonlyArray<Part>): A =>
  from[between(0, from.length - 1, ...parts)] ?? from[0]

/** A row of numbers, each from 0 up to, but not, 1: the same row for the same seed. */
export const makeChance = (seed: string) => {
  let state = between(0, 2 ** 32 - 1, seed)
  const next = (): number => {
    state = (state + 0x6D2B79F5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    next,
    below: (count: number) => Math.floor(next() * count),
    is: (share: number) => next() < share,
    // A list of nothing is never asked.
    of: <A>(list: ReadonlyArray<A>): A => list[Math.floor(next() * list.length)] as A
  }
}
export type Chance = ReturnType<typeof makeChance>

/** A seed that nobody has used. */
export const freshSeed = (): string => pick(["ash", "elm", "fir", "oak"], Date.now()) + String(Date.now() % 1_000_000)

/** The seed of a run of the tests: always the same, unless the environment has another, or asks for a `fresh` one. */
export const seedOf = (asked: string | undefined): string => asked === undefined || asked === "" ? "oak" : asked === "fresh" ? freshSeed() : asked
