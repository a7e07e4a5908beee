import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { describe as describeFailure } from "../../src/Model.ts"
import { mock } from "../support/mock.ts"
import { ask, asked } from "../support/openrouter.ts"
import { scenarios } from "../support/scenarios.ts"

const path = "/api/v1"

scenarios("OpenRouter", asked, {
  path,
  model: "openrouter:deepseek/deepseek-v4-pro-0813",
  usage: { prompt_tokens: 11, completion_tokens: 7 },
  ids: ["call_1", "call_2"],
  thought: { type: "reasoning", text: "Two questions." },
  goesBack: ["Two questions."],
  overloaded: { status: 503, type: "provider_overloaded" },
  limited: "rate_limit_error",
  refusal: "content_filter"
})

it.effect("OpenRouter, by aimock, asks to be paid", () =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* mock((mock) => mock.onMessage("Hello", { error: { message: "Insufficient credits" }, status: 402 }))
    const { error } = yield* ask(`${server.url}${path}`)
    assert.isDefined(error)
    assert.deepInclude(describeFailure(error), { reason: "QuotaExhaustedError", retryable: false })
  })))
