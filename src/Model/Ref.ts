import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type ForbiddenModel, ModelRef, UnknownModel } from "../Run.ts"
import { forbidden, isForbidden } from "./Forbidden.ts"

const isRef = Schema.is(ModelRef)

/**
 * A reference to a model from a text such as `anthropic:claude-sonnet-5-5`: the provider's name, a colon, and the exact
 * id. Refuses every OpenAI model, and text of another form; whether the provider exists is known when the model is used.
 */
export const of = (text: string): Result.Result<ModelRef, ForbiddenModel | UnknownModel> =>
  isForbidden(text)
    ? Result.fail(forbidden(text))
    : isRef(text)
    ? Result.succeed(text)
    : Result.fail(
      new UnknownModel({ model: text, remedy: `write the provider, a colon and the exact id, as in "anthropic:claude-sonnet-5-5".` })
    )
