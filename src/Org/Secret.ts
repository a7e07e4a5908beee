import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as SecureRandom from "effect/crypto/SecureRandom"

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/** The fewest characters of a key that was not made here. */
export const minLength = 32

/** The longest text that is looked up as a key. */
export const maxLength = 512

const own = /^ck_[0-9A-Za-z]{8}_/

/** Characters of chance after the prefix: 40 of 62, so 238 bits. */
const length = 40

const text = Effect.fnUntraced(function*(random: SecureRandom.SecureRandom["Service"], count: number) {
  let characters = ""
  while (characters.length < count) {
    // Bytes from 248 on would make some characters likelier than others.
    for (const byte of yield* random.randomBytes(count)) if (byte < 248) characters += alphabet[byte % 62]
  }
  return characters.slice(0, count)
})

/** A new key: `ck_`, 8 characters to recognise it by, `_`, and 40 characters of chance. */
export const makeKey = Effect.map(
  Effect.flatMap(SecureRandom.SecureRandom, (random) => Effect.all([text(random, 8), text(random, length)])),
  ([prefix, secret]) => Redacted.make(`ck_${prefix}_${secret}`)
)

/** SHA-256 of a key: all that is kept of it but its prefix. A key is chance, so that it needs no salt. */
export const hashOf = (key: Redacted.Redacted): Uint8Array => createHash("sha256").update(Redacted.value(key)).digest()

/** What a key is recognised by: too little of it to be used or guessed. */
export const prefixOf = (key: Redacted.Redacted): string =>
  own.exec(Redacted.value(key))?.[0].slice(0, -1) ?? `${Redacted.value(key).slice(0, 4)}…`
