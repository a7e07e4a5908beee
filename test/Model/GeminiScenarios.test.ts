import { asked } from "../support/gemini.ts"
import { scenarios } from "../support/scenarios.ts"

scenarios("Gemini", asked, {
  path: "/v1beta",
  model: "google:gemini-3.8-flash",
  usage: { input_tokens: 11, output_tokens: 7 },
  thought: { type: "reasoning", text: "Two questions." },
  goesBack: [],
  overloaded: { status: 503, type: "UNAVAILABLE" },
  limited: "RESOURCE_EXHAUSTED",
  refusal: "SAFETY"
})
