/** Chance from a seed: what happens in a campaign follows from its seed and from nothing else. */
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
