import { assert } from "@effect/vitest"
import { Option } from "effect"
import { asked } from "../support/anthropic.ts"
import { scenarios } from "../support/scenarios.ts"

scenarios("Anthropic", asked, {
  model: "anthropic:claude-haiku-4-5-20251001",
  usage: { input_tokens: 11, output_tokens: 7 },
  ids: ["toolu_1", "toolu_2"],
  signature: "c2lnbmVk",
  thought: { type: "reasoning", text: "Two questions.", opaque: { anthropic: { signature: "c2lnbmVk" } } },
  goesBack: [],
  overloaded: { status: 529, type: "overloaded_error" },
  limited: "rate_limit_error",
  refusal: "refusal",
  refused: ({ reportedCost }) => assert.isTrue(Option.isNone(reportedCost))
})
