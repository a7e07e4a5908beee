/**
 * What the catalogue's models are good at, from 1 (it can) to 10 (nothing of the catalogue is better). Assigned by hand on
 * 2026-11-23, by what the makers say that each model is for and how they rank their own line: platform.claude.com/docs/models
 * (Claude), docs.cloud.google.com "Get started with Gemini 4" and ai.google.dev/gemini-api/docs/models (Gemini),
 * api-docs.deepseek.com (DeepSeek), github.com/QwenLM/Qwen3.8 and alibabacloud.com/help/model-studio (Qwen), platform.kimi.ai/docs
 * (Kimi), and the maker's text on a model's page at openrouter.ai. It is a judgement and no measurement: models of different
 * makers that have the same figure are held to be alike, and the cheaper one is then chosen.
 *
 * A task that is left out is none of the model's: nobody should choose it for that.
 */
export const strengthsFrom = "assigned by hand on 2026-11-23 from the makers' own descriptions, see test/scripts/strengths.ts"

type Row = readonly [coding: number, reasoning: number, agents: number, fast: number, longContext: number, vision: number, multilingual: number, general: number]

/** Zero where the task is none of the model's. */
const rows: Record<string, Row> = {
  //                                            coding reason agents fast long vision langs general
  "anthropic:claude-fable-5-2":                     [10, 10, 10, 0, 10, 10, 9, 10],
  "anthropic:claude-fable-5-1":                     [9, 10, 9, 0, 9, 9, 9, 9],
  "anthropic:claude-opus-5-5":                      [9, 9, 9, 3, 9, 9, 9, 9],
  "anthropic:claude-opus-5":                        [8, 8, 8, 3, 8, 8, 8, 8],
  "anthropic:claude-opus-4-8":                      [7, 7, 7, 3, 7, 7, 8, 7],
  "anthropic:claude-sonnet-5-5":                    [8, 8, 8, 6, 8, 8, 8, 8],
  "anthropic:claude-sonnet-5":                      [7, 7, 7, 6, 7, 7, 8, 7],
  "anthropic:claude-sonnet-4-6":                    [6, 6, 6, 5, 6, 6, 7, 6],
  "anthropic:claude-haiku-5-5":                     [6, 5, 7, 9, 6, 7, 7, 6],
  "anthropic:claude-haiku-4-5":                     [5, 4, 5, 8, 0, 5, 6, 5],
  "anthropic:claude-haiku-4-5-20251001":            [5, 4, 5, 8, 0, 5, 6, 5],
  "google:gemini-4-argon":                          [8, 8, 7, 4, 9, 9, 9, 8],
  "google:gemini-3.8-flash":                        [6, 6, 6, 8, 7, 8, 8, 7],
  "google:gemini-3.7-flash":                        [5, 5, 5, 8, 7, 7, 8, 6],
  "google:gemini-3.6-flash":                        [5, 5, 5, 7, 6, 7, 7, 6],
  "google:gemini-3.5-flash":                        [5, 5, 5, 7, 6, 6, 7, 5],
  "google:gemini-3.5-flash-lite":                   [4, 3, 4, 8, 5, 5, 6, 4],
  "google:gemini-3.1-pro-preview":                  [6, 7, 6, 0, 8, 8, 8, 7],
  "google:gemini-3.1-flash-lite":                   [3, 3, 3, 8, 5, 5, 6, 4],
  "google:gemini-2.5-pro":                          [5, 6, 4, 0, 7, 6, 7, 6],
  "openrouter:deepseek/deepseek-v4.1-flash":        [6, 6, 6, 8, 6, 6, 5, 6],
  "openrouter:deepseek/deepseek-v4-pro-0813":       [7, 7, 7, 0, 7, 0, 6, 7],
  "openrouter:deepseek/deepseek-v4-flash-0731":     [5, 5, 5, 8, 6, 0, 5, 5],
  "openrouter:moonshotai/kimi-k3.1-pro":            [8, 8, 8, 0, 8, 8, 7, 8],
  "openrouter:moonshotai/kimi-k3":                  [7, 7, 7, 0, 7, 7, 7, 7],
  "openrouter:moonshotai/kimi-k2.7-code":           [7, 5, 6, 0, 0, 5, 5, 5],
  "openrouter:moonshotai/kimi-k2.6":                [6, 6, 6, 0, 0, 6, 6, 6],
  "openrouter:qwen/qwen3.8-max-prime":              [8, 8, 8, 0, 8, 8, 9, 8],
  "openrouter:qwen/qwen3.8-max-0902":               [7, 8, 7, 0, 7, 8, 9, 7],
  "openrouter:qwen/qwen3.8-flash":                  [6, 5, 6, 8, 6, 7, 8, 6],
  "openrouter:qwen/qwen3.8-27b":                    [5, 5, 5, 6, 0, 5, 7, 5],
  "openrouter:qwen/qwen3.7-plus":                   [5, 5, 5, 6, 6, 6, 8, 6],
  "openrouter:qwen/qwen3.7-flash":                  [3, 3, 3, 8, 4, 4, 6, 4],
  "openrouter:qwen/qwen3-coder-flash":              [5, 0, 4, 7, 4, 0, 0, 3],
  "openrouter:google/gemma-4-31b-it:free":          [3, 3, 3, 4, 0, 4, 6, 4],
  "openrouter:nvidia/nemotron-3-ultra-550b-a55b:free": [4, 5, 4, 0, 4, 0, 3, 4]
}

const tasks = ["coding", "reasoning", "agents", "fast", "long-context", "vision", "multilingual", "general"] as const

/** What a model is good at, by its reference; nothing for one that nobody has judged. */
export const strengthsOf = (ref: string): Partial<Record<(typeof tasks)[number], number>> | undefined => {
  const row = rows[ref]
  return row === undefined ? undefined : Object.fromEntries(tasks.flatMap((task, index) => (row[index] ?? 0) === 0 ? [] : [[task, row[index]]]))
}
