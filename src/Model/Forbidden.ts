import { ForbiddenModel } from "../Run.ts"

/**
 * Names of OpenAI and of its models, in a text of one case without invisible characters. The last alternatives choose a model
 * themselves and may choose one of OpenAI's: presets and routers, OpenRouter's own and those that others have there, of which
 * not all are called one (openrouter.ai/docs/guides/routing/routers, read 2026-11).
 */
const names = [
  /openai/,
  /open[^a-z0-9]+ai(?![a-z])/,
  /(^|[^a-z])(chat)?gpt/,
  /(^|[^a-z0-9])o[1-9]\d?(?![a-z0-9])/,
  /(^|[^a-z0-9])o[1-9]\d?(mini|pro|preview|high)/,
  /(^|[^a-z])(text|code)[^a-z0-9]*(davinci|curie|babbage|ada|embedding[^a-z0-9]*(3|ada))(?![a-z])/,
  /(^|[^a-z])(davinci|babbage|curie)(?![a-z])/,
  /(^|[^a-z])(dall[^a-z0-9]*e|whisper|sora|codex|omni[^a-z0-9]*moderation)(?![a-z])/,
  /(^|[:/])(computer[^a-z0-9]*use[^a-z0-9]*preview|chat[^a-z0-9]*latest)/,
  /(^|[^a-z])tts[^a-z0-9]*1/,
  /openrouter[:/]+auto(?![a-z])/,
  /openrouter[:/]+.*(router|@preset)/,
  /(^|[^a-z])(switchpoint|notdiamond)[:/]/,
  /(^|[^a-z])sakana[:/]+fugu/
]

const plain = (text: string): string =>
  text.normalize("NFKD").replace(/[\p{Cf}\p{Cc}\p{Mn}\s]+/gu, "").toLowerCase()

/**
 * Whether a text names OpenAI or one of its models, through whatever provider and in whatever spelling: case, white
 * space, accents, full-width letters and invisible characters make no difference. Text that merely reads alike in
 * another script reaches no provider, because ids are sent as they are written.
 */
export const isForbidden = (text: string): boolean => {
  const name = plain(text)
  return names.some((pattern) => pattern.test(name))
}

/** Whether a base URL leads to OpenAI, on its own hosts or on Azure's, also where its host is written otherwise than it is asked for. */
export const isForbiddenUrl = (url: string): boolean =>
  [url, URL.parse(url.trim())?.hostname ?? ""].some((text) => /openai|chatgpt/.test(plain(text)))

/** OpenRouter's names of the hosts that no request may reach, also where something unknown here chooses a model itself. */
export const forbiddenHosts = ["openai", "azure"]

/** The failure for a forbidden name. */
export const forbidden = (model: string): ForbiddenModel => new ForbiddenModel({ model })
