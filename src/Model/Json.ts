import * as Tool from "effect/ai/Tool"

/** The JSON object that a text holds; nothing where it is no JSON, no object, or would set a prototype. */
export const parseObject = (text: string): Record<string, unknown> | undefined => {
  if (text.trim() === "") return {}
  try {
    const value = Tool.unsafeSecureJsonParse(text)
    // What JSON.parse gives for an object that is no array is a record of unknown values.
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : undefined
  } catch {
    return undefined
  }
}
