import * as Schema from "effect/Schema"

/** What was to be remembered, found or forgotten cannot be. */
export class MemoryInvalid extends Schema.TaggedError<MemoryInvalid>()("MemoryInvalid", { problem: Schema.String }) {
  override get message() {
    return `The memory cannot do that: ${this.problem}`
  }
}

/** The organisation has no memory of that id. */
export class MemoryNotFound extends Schema.TaggedError<MemoryNotFound>()("MemoryNotFound", { memory: Schema.String }) {
  override get message() {
    return `There is no memory "${this.memory}": see conductor memories.`
  }
}
