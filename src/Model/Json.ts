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

/** Whether a text is JSON of any kind. */
export const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Whether a value is an object that is no array, of which nothing else is known. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Whether a value is text and not empty. */
export const isText = (value: unknown): value is string => typeof value === "string" && value !== ""

/** Whether a value is a number of things. */
export const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

/** The JSON array that a text holds; nothing where it is none. */
export const parseArray = (text: string): ReadonlyArray<unknown> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}
