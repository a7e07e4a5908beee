import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { remedyOf } from "./Chain.ts"
import { BudgetPeriod } from "./Ids.ts"

/** The input does not fit the agent. */
export class InvalidInput extends Schema.TaggedError<InvalidInput>()("InvalidInput", {
  agent: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `The input for the agent "${this.agent}" cannot be used: ${this.problem}`
  }
}

/** The model is one that Conductor never talks to. */
export class ForbiddenModel extends Schema.TaggedError<ForbiddenModel>()("ForbiddenModel", { model: Schema.String }) {
  override get message() {
    return `The model "${this.model}" is an OpenAI model or may choose one, which Conductor never uses: name a Claude, Gemini, DeepSeek, Qwen or Kimi model.`
  }
}

/** No provider or catalogue entry answers to that name. */
export class UnknownModel extends Schema.TaggedError<UnknownModel>()("UnknownModel", {
  model: Schema.String,
  remedy: Schema.String
}) {
  override get message() {
    return `The model "${this.model}" is not known: ${this.remedy}`
  }
}

/** Why a model of a run's chain did not answer. */
const Failed = Schema.Struct({
  model: Schema.String,
  /** The classified reason: an `AiError` reason's tag, such as `RateLimitError`, or `ProviderUnavailable` where it was not asked. */
  reason: Schema.String,
  problem: Schema.String,
  attempts: Schema.Int
})

const failure = ({ attempts, model, problem }: typeof Failed.Type): string =>
  attempts === 0 ? `${model} was not asked: ${problem}` : `${model} failed after ${attempts} attempt${attempts === 1 ? "" : "s"}: ${problem}`

/** A sentence with its full stop, so that another one can follow. */
const stopped = (text: string): string => /[.!?]$/.test(text) ? text : `${text}.`

/** No model of the run could answer, after every attempt that made sense; of several, `model` is the one asked last. */
export class ModelFailed extends Schema.TaggedError<ModelFailed>()("ModelFailed", {
  ...Failed.fields,
  /** Every model that was asked, in its order, where there were several. */
  asked: Schema.optionalKey(Schema.Array(Failed))
}) {
  override get message() {
    const all = this.asked ?? [this]
    const remedies = new Set(all.map(({ model, reason }) => remedyOf(model, reason)))
    const many = all.length === 1 ? "" : `None of ${all.length} models answered. `
    return `${many}${all.map((one) => stopped(failure(one))).join(" ")} To mend it: ${[...remedies].join(" Or: ")}`
  }
}

/** The model declined to answer. */
export class ModelRefused extends Schema.TaggedError<ModelRefused>()("ModelRefused", {
  model: Schema.String,
  explanation: Schema.NullOr(Schema.String)
}) {
  override get message() {
    return `${this.model} refused to answer${this.explanation === null ? "" : `: ${this.explanation}`}`
  }
}

/** The conversation does not fit into a model's context window, and nothing of it can be made shorter any more. */
export class ContextTooLong extends Schema.TaggedError<ContextTooLong>()("ContextTooLong", {
  model: Schema.String,
  /** Of input, estimated. */
  tokens: Schema.Int,
  /** Of input that fit; null where only the provider knows. */
  limit: Schema.NullOr(Schema.Int)
}) {
  override get message() {
    const room = this.limit === null ? "more than it takes" : `of which ${this.limit} fit`
    return `The conversation is too long for ${this.model} (about ${this.tokens} tokens, ${room}), and nothing of it can be summarised or shortened any more: say less at a time, let tools answer with less, raise context.tokens of the agent, or name a model with a larger context.`
  }
}

/** The answer was cut at the output limit. */
export class OutputTruncated extends Schema.TaggedError<OutputTruncated>()("OutputTruncated", {
  model: Schema.String,
  maxOutput: Schema.Int
}) {
  override get message() {
    return `${this.model} reached the output limit of ${this.maxOutput} tokens before it was done: raise limits.outputTokens or the budget.`
  }
}

/** The answer is not of the agent's output schema. */
export class InvalidOutput extends Schema.TaggedError<InvalidOutput>()("InvalidOutput", {
  agent: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `The answer of the agent "${this.agent}" does not fit its output schema: ${this.problem}`
  }
}

/** A limit of the run was reached. */
export class LimitExceeded extends Schema.TaggedError<LimitExceeded>()("LimitExceeded", {
  limit: Schema.Literals(["turns", "time", "pauses"]),
  value: Schema.Int
}) {
  override get message() {
    if (this.limit === "pauses") return `The provider paused its answer more than ${this.value} times in a row: try again, or choose another model.`
    const what = this.limit === "time" ? `${this.value} ms` : `${this.value} ${this.limit}`
    return `The run reached its limit of ${what}: raise limits.${this.limit} of the agent, or give it a smaller task.`
  }
}

/** A run took longer than its limit. */
export class RunTimedOut extends Schema.TaggedError<RunTimedOut>()("RunTimedOut", { limitMs: Schema.Int }) {
  override get message() {
    return `The run took longer than its limit of ${this.limitMs} ms: raise limits.time of the agent, or give it a smaller task.`
  }
}

/** A turn, with all its attempts, took longer than its limit. */
export class TurnTimedOut extends Schema.TaggedError<TurnTimedOut>()("TurnTimedOut", { model: Schema.String, limitMs: Schema.Int }) {
  override get message() {
    return `${this.model} did not complete its turn within ${this.limitMs} ms: raise limits.turnTime of the agent, or choose a faster model.`
  }
}

/** The model said nothing at all in time, in any attempt. */
export class FirstTokenTimedOut extends Schema.TaggedError<FirstTokenTimedOut>()("FirstTokenTimedOut", {
  model: Schema.String,
  limitMs: Schema.Int
}) {
  override get message() {
    return `${this.model} said nothing within ${this.limitMs} ms: raise limits.firstToken of the agent, or choose a faster model.`
  }
}

/** The model fell silent in the middle of its answer, in every attempt. */
export class StreamStalled extends Schema.TaggedError<StreamStalled>()("StreamStalled", { model: Schema.String, limitMs: Schema.Int }) {
  override get message() {
    return `${this.model} fell silent for ${this.limitMs} ms in the middle of its answer: raise limits.streamIdle of the agent, or try again.`
  }
}

/** A tool whose failure ends the run did not finish in time. */
export class ToolTimedOut extends Schema.TaggedError<ToolTimedOut>()("ToolTimedOut", {
  tool: Schema.String,
  call: Schema.String,
  limitMs: Schema.Int
}) {
  override get message() {
    return `The tool "${this.tool}" did not finish within ${this.limitMs} ms and its definition says that its failure ends the run: raise its timeout.`
  }
}

/** A budget does not cover the next request. */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>()("BudgetExceeded", {
  /** `org:…`, `session:…` or `run:…`. */
  scope: Schema.String,
  limit: Money.FromString,
  spent: Money.FromString,
  reserved: Money.FromString,
  asked: Money.FromString,
  /** What the limit is for; absent where it is for good. */
  period: Schema.optionalKey(BudgetPeriod),
  /** When the next period begins: `2026-12-01T00:00:00Z`. */
  until: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    const time = this.until?.replace("T", " ").replace(/(:00)?Z$/, " UTC")
    const [during, wait] = this.period === undefined ? ["", ""] : [` for this ${this.period}`, time === undefined ? "" : ` Or wait until ${time}, when the next ${this.period} begins.`]
    return `The budget of ${this.scope}${during} does not cover the next request: limit ${Money.format(this.limit)} USD, spent ${Money.format(this.spent)}, reserved ${Money.format(this.reserved)}, asked ${Money.format(this.asked)}. Raise it, or choose a cheaper model.${wait}`
  }
}

/** The model has no known price, so a budget cannot bound it. */
export class UnpricedModel extends Schema.TaggedError<UnpricedModel>()("UnpricedModel", { model: Schema.String }) {
  override get message() {
    return `The model "${this.model}" has no known price, so it cannot run under a budget: add its price to your catalogue file, or remove the budget.`
  }
}

/** A tool failed in the way that its definition says ends the run. */
export class ToolFailed extends Schema.TaggedError<ToolFailed>()("ToolFailed", {
  tool: Schema.String,
  call: Schema.String,
  /** The tool's encoded failure as JSON text. */
  failure: Schema.String
}) {
  override get message() {
    return `The tool "${this.tool}" failed and its definition says that this ends the run: ${this.failure}`
  }
}

/** The definition of the agent is not the one that the run was started with. */
export class DefinitionChanged extends Schema.TaggedError<DefinitionChanged>()("DefinitionChanged", {
  agent: Schema.String,
  started: Schema.String,
  registered: Schema.String,
  /** Why the run cannot go on with either definition. */
  problem: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    const why = this.problem === undefined ? "" : `: ${this.problem}`
    return `The agent "${this.agent}" has changed since the run was started (${this.started.slice(0, 12)}, now ${this.registered.slice(0, 12)})${why}; register the old definition to go on with it, or set the agent's upgrade.`
  }
}

/** Conductor itself broke while it performed the run; the log up to that point is sound. */
export class InternalError extends Schema.TaggedError<InternalError>()("InternalError", { problem: Schema.String }) {
  override get message() {
    return `Conductor failed while it performed the run: ${this.problem}. The run can be retried from its log.`
  }
}

/** Why a run failed, as its log records it. */
export const RunFailure = Schema.Union([
  InvalidInput, ForbiddenModel, UnknownModel, ModelFailed, ModelRefused, OutputTruncated, InvalidOutput, LimitExceeded,
  ContextTooLong, RunTimedOut, TurnTimedOut, FirstTokenTimedOut, StreamStalled, ToolTimedOut, BudgetExceeded, UnpricedModel, ToolFailed,
  DefinitionChanged, InternalError
])
export type RunFailure = typeof RunFailure.Type
