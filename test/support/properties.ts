/** Property tests draw their cases from the seed of the run of the tests, so that what failed fails again. */
import { Arbitrary } from "effect"
import { inject } from "vitest"

Arbitrary.configureGlobal({ check: { seed: inject("seed") }, sample: { seed: inject("seed") } })
