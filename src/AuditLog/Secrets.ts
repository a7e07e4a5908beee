/** What stands in the place of a secret. */
export const redacted = "[REDACTED]"

const secretWords = new Set([
  "password", "passwords", "passwd", "passphrase", "passcode", "pwd", "secret", "secrets", "token", "auth", "authorization", "credential",
  "credentials", "cookie", "cookies", "apikey", "apikeys", "apitoken", "jwt", "bearer"
])

/** Written as one word, these end with what gives them away: `dbpassword`, `clientsecret`, `xapikey`. */
const secretEndings =
  /(?:password|passwd|passphrase|secret|credentials?|cookie|(?:api|private|secret|access|signing|encryption)keys?|(?:api|access|auth|refresh|session|bearer|id)tokens?)$/

/** `key` and `tokens` are secret only after one of these: an `access_key` is, a `primary_key` is not. */
const secretQualifiers = new Set([
  "api", "private", "secret", "access", "auth", "signing", "signature", "encryption", "encrypt", "ssh", "service", "account", "refresh",
  "session", "bearer", "id", "client", "shared", "master", "hmac"
])
const qualified = new Set(["key", "keys", "tokens"])

/** Said of a secret they make something that is none: a `token_count`, an `auth_type`. */
const harmlessEndings = new Set([
  "count", "counts", "limit", "limits", "usage", "budget", "type", "method", "mode", "expires", "expiry", "required", "enabled", "status",
  "length", "policy"
])

/** The words of an identifier in any style: `x-api-key`, `apiKey` and `API_KEY2` have the words `api` and `key`. */
const wordsOf = (name: string): ReadonlyArray<string> =>
  name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/([A-Z]+)([A-Z][a-z])/g, "$1 $2").toLowerCase().split(/[^a-z]+/).filter(
    (word) => word !== ""
  )

const judge = (name: string): boolean => {
  const words = wordsOf(name)
  if (harmlessEndings.has(words.at(-1) ?? "")) return false
  return words.some((word, index) =>
    secretWords.has(word) || secretEndings.test(word) || (qualified.has(word) && secretQualifiers.has(words[index - 1] ?? ""))
  ) || secretEndings.test(words.join(""))
}

const judged = new Map<string, boolean>()

/**
 * True for a name whose value is a secret by convention: `api_key`, `Authorization`, `dbPassword`, `private-key`; not for `monkey`,
 * `author`, `keywords`, `tokens_used`, `primary_key`. Names are judged by their words.
 */
export const isSecretName = (name: string): boolean => {
  if (name.length > 200) return judge(name.slice(0, 200))
  const known = judged.get(name)
  if (known !== undefined) return known
  const verdict = judge(name)
  // Names come from schemas and models; a model that makes up names without end must not fill the memory.
  if (judged.size < 10_000) judged.set(name, verdict)
  return verdict
}

/**
 * Secrets by their look. Each alternative is anchored by literal characters and has no nested repetition, so that the time is linear in
 * the text; a PEM block that is never closed is taken to the end.
 */
const looks = new RegExp(
  [
    "-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z0-9 ]{0,10}-----[\\s\\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z0-9 ]{0,10}-----|$)",
    "\\beyJ[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]{4,}(?:\\.[A-Za-z0-9_-]*)?",
    "\\bsk-[A-Za-z0-9_-]{16,}",
    "\\b[sr]k_(?:live|test)_[A-Za-z0-9]{8,}",
    "\\bAIza[A-Za-z0-9_-]{30,}",
    "\\bya29\\.[A-Za-z0-9_-]{16,}",
    "\\bgh[pousr]_[A-Za-z0-9]{20,}",
    "\\bgithub_pat_[A-Za-z0-9_]{20,}",
    "\\bglpat-[A-Za-z0-9_-]{16,}",
    "\\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "\\b(?:AKIA|ASIA)[A-Z0-9]{16}\\b",
    "\\bsbp_[a-f0-9]{20,}",
    "\\bnpm_[A-Za-z0-9]{30,}"
  ].join("|"),
  "g"
)
const schemes = /\b(bearer\s+)[A-Za-z0-9._~+/-]{8,}=*|\b(basic\s+)[A-Za-z0-9+/]{16,}={0,2}/gi
const connections = /\b([a-z][a-z0-9+.-]{1,30}:\/\/[^\s:/?#@"'<>]{0,200}:)[^\s/?#"'<>]{1,400}@/gi
const separator = /[:=]/g
const spaces = /\s{0,8}/y
const nameCharacter = /[A-Za-z0-9_.-]/

/** Goes back from `at` over at most `most` characters that are of the kind. */
const back = (text: string, at: number, most: number, is: (char: string) => boolean): number => {
  let from = at
  while (from > 0 && at - from < most && is(text.charAt(from - 1))) from--
  return from
}

/** The name right before a separator, quoted or not: `token`, `"api_key" `, `\"password\"`; empty where there is none. */
const nameBefore = (text: string, separator: number): string => {
  let end = back(text, separator, 8, (char) => char === " " || char === "\t" || char === "\n")
  const quoted = text.charAt(end - 1) === "\"" || text.charAt(end - 1) === "'"
  if (quoted) end = back(text, end - 1, 8, (char) => char === "\\")
  // Only between quotes has a name words.
  return text.slice(back(text, end, 80, (char) => nameCharacter.test(char) || (quoted && char === " ")), end)
}

const opening = /\\{0,8}["']/y

const closing: { readonly [open: string]: string } = { "{": "}", "[": "]" }

/** Where the bracket at `at` is closed, one past it; strings are not looked into, so that it may be too far, never too near. */
const endOfBrackets = (text: string, at: number): number => {
  const open = text.charAt(at)
  const close = closing[open]
  let depth = 0
  for (let i = at; i < text.length; i++) {
    const char = text.charAt(i)
    if (char === open) depth++
    else if (char === close && --depth === 0) return i + 1
  }
  return text.length
}

const endOfQuoted = (text: string, at: number, quote: string): number => {
  let end = text.indexOf(quote, at + quote.length)
  // A quote that is escaped once more than this one is inside the value.
  while (end > 0 && text.charAt(end - 1) === "\\") end = text.indexOf(quote, end + 1)
  return end < 0 ? text.length : end + quote.length
}

const bareValue = /[^\s,;&}\]"'\\]*/y

/** The value at `at` without what it says, and where it ends. */
const hideValue = (text: string, at: number): readonly [hidden: string, end: number] => {
  opening.lastIndex = at
  const quote = opening.exec(text)?.[0]
  if (quote !== undefined) return [`${quote}${redacted}${quote}`, endOfQuoted(text, at, quote)]
  if (text.charAt(at) in closing) return [redacted, endOfBrackets(text, at)]
  bareValue.lastIndex = at
  const value = bareValue.exec(text)?.[0] ?? ""
  return [value === "" || value === "null" || value === "true" || value === "false" ? value : redacted, at + value.length]
}

const hideAssigned = (text: string): string => {
  let out = ""
  let done = 0
  separator.lastIndex = 0
  for (let match = separator.exec(text); match !== null; match = separator.exec(text)) {
    if (!isSecretName(nameBefore(text, match.index))) continue
    spaces.lastIndex = match.index + 1
    spaces.exec(text)
    const from = spaces.lastIndex
    const [hidden, end] = hideValue(text, from)
    out += text.slice(done, from) + hidden
    done = end
    separator.lastIndex = end
  }
  return done === 0 ? text : out + text.slice(done)
}

const redactOnce = (text: string): string => {
  let out = text.replace(looks, redacted)
  if (/basic|bearer/i.test(out)) {
    out = out.replace(schemes, (_, bearer: string | undefined, basic: string | undefined) => `${bearer ?? basic}${redacted}`)
  }
  if (out.includes("://")) out = out.replace(connections, `$1${redacted}@`)
  return /[:=]/.test(out) ? hideAssigned(out) : out
}

/** The text without the secrets in it, found by their look, and by name where it says `name=value` or `"name": "value"`. */
export const redactText = (text: string): string => {
  if (text.length < 6) return text
  let before = text
  // What was hidden behind a secret may look like one once that is gone; twice is the most that was ever seen.
  for (let pass = 0; pass < 4; pass++) {
    const after = redactOnce(before)
    if (after === before) return after
    before = after
  }
  return before
}
