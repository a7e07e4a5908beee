import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Model from "../Model.ts"
import { demo } from "../plugins/demo.ts"
import { ModelRef, UnknownModel } from "../Run.ts"
import { failed, usage } from "./Failure.ts"

/** The model of the demonstration without a key: a script. */
export const scripted = ModelRef.make("scripted:demo")

/** The providers by the variable of their key, and the model that each is asked for where none is named. */
export const providers = [
  { name: "anthropic", key: "ANTHROPIC_API_KEY", model: ModelRef.make("anthropic:claude-sonnet-5-5") },
  { name: "openrouter", key: "OPENROUTER_API_KEY", model: ModelRef.make("openrouter:deepseek/deepseek-v4-pro-0813") },
  { name: "google", key: "GEMINI_API_KEY", model: ModelRef.make("google:gemini-3.8-flash") }
] as const

/** The catalogue, and the script of the demonstration at the prices of the model that it stands in for. */
const catalog = Layer.effect(Model.Catalog, Effect.gen(function*() {
  const known = yield* Model.Catalog
  const entry = Option.map(known.find(providers[0].model), (like) => ({ ...like, ref: scripted }))
  return Model.Catalog.of({ ...known, find: (ref) => ref === scripted ? entry : known.find(ref) })
})).pipe(Layer.provide(Model.Catalog.layer), Layer.provide(NodeFileSystem.layer))

/** The models of the program: those of the providers, and the script of the demonstration. */
export const models = Model.Models.layerWith({ scripted: demo.script() }).pipe(Layer.provideMerge(catalog))

/** Whether a variable is set to something, or the one that stands in for it. */
export const isSet = Effect.fnUntraced(function*(name: string) {
  for (const variable of name === "GEMINI_API_KEY" ? [name, "GOOGLE_API_KEY"] : [name]) {
    const value = yield* Config.withDefault(Config.Redacted(variable), Redacted.make(""))
    if (Redacted.value(value).trim() !== "") return true
  }
  return false
})

/** The first provider with a key. */
export const withKey = Effect.gen(function*() {
  for (const provider of providers) if (yield* isSet(provider.key)) return Option.some(provider)
  return Option.none()
})

const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** The catalogue's models that are spelled most like a text, at most two. */
export const similar = (text: string, known: ReadonlyArray<string>): ReadonlyArray<string> =>
  known.map((ref) => ({ ref, distance: distance(text.slice(0, 80), ref) }))
    .filter((one) => one.distance <= Math.max(3, text.length / 3))
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, 2)
    .map((one) => one.ref)

/**
 * The model for a run: the one that is named, `CONDUCTOR_MODEL`, or that of the first provider with a key. Refuses before
 * anything is started what no provider answers to, what the catalogue does not hold, and a provider without its key.
 */
export const choose = Effect.fnUntraced(function*(named: Option.Option<string>) {
  const configured = yield* Config.option(Config.String("CONDUCTOR_MODEL"))
  const text = Option.orElse(named, () => Option.filter(configured, (model) => model.trim() !== ""))
  if (Option.isNone(text)) {
    const provider = yield* withKey
    if (Option.isSome(provider)) return provider.value.model
    return yield* failed(
      `No key for a model is set: put ${providers.map(({ key }) => `${key}=…`).join(" or ")} into .env or the environment, or see "conductor demo", which needs none.`
    )
  }
  const ref = yield* Effect.fromResult(Model.of(text.value.trim()))
  const catalog = yield* Model.Catalog
  const models = yield* Model.Models
  const { entry } = yield* models.resolve(ref)
  if (Option.isNone(entry)) {
    const like = similar(ref, catalog.entries.map((one) => one.ref))
    const hint = like.length === 0 ? `see "conductor models"` : `did you mean ${like.join(" or ")}? See "conductor models"`
    return yield* new UnknownModel({ model: ref, remedy: `${hint}, or add it to your own catalogue file (CONDUCTOR_CATALOG).` })
  }
  const provider = providers.find((one) => ref.startsWith(`${one.name}:`))
  if (provider !== undefined && !(yield* isSet(provider.key))) {
    return yield* failed(`${provider.key} is not set, and ${ref} needs it: put it into .env or the environment, or see "conductor demo", which needs no key.`)
  }
  return ref
})

/** Says that the model of a flag is missing where it is given without a name. */
export const named = (model: Option.Option<string>) =>
  Option.isSome(model) && model.value.trim() === "" ? usage(`--model is empty: write it as anthropic:claude-sonnet-5-5.`) : Effect.succeed(model)
