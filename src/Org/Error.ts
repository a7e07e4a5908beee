import * as Schema from "effect/Schema"

/** What an organisation was to be called, or how long its runs were to be kept, cannot be used. */
export class OrgInvalid extends Schema.TaggedError<OrgInvalid>()("OrgInvalid", {
  org: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `The organisation "${this.org}" cannot be so: ${this.problem}`
  }
}

/** There is an organisation of that id already. */
export class OrgExists extends Schema.TaggedError<OrgExists>()("OrgExists", { org: Schema.String }) {
  override get message() {
    return `There is an organisation "${this.org}" already: choose another id, or make it a key with conductor keys create.`
  }
}

/** There is no organisation of that id. */
export class OrgNotFound extends Schema.TaggedError<OrgNotFound>()("OrgNotFound", { org: Schema.String }) {
  override get message() {
    return `There is no organisation "${this.org}": see conductor orgs, or make it with conductor orgs create.`
  }
}

/** A key cannot be made as it was asked for. */
export class KeyInvalid extends Schema.TaggedError<KeyInvalid>()("KeyInvalid", { problem: Schema.String }) {
  override get message() {
    return `The key cannot be made: ${this.problem}`
  }
}

/** The organisation has no key of that id. */
export class KeyNotFound extends Schema.TaggedError<KeyNotFound>()("KeyNotFound", { key: Schema.String }) {
  override get message() {
    return `There is no key "${this.key}": see conductor keys.`
  }
}

const remedies = {
  unknown: "it is not one of this server's: check that it was copied whole",
  revoked: "it was revoked: ask an administrator of the organisation for another",
  expired: "its time is over: ask an administrator of the organisation for another"
} as const

/** A key does not let anybody in. It is not quoted, because it may be a real one with a typing error. */
export class KeyRefused extends Schema.TaggedError<KeyRefused>()("KeyRefused", {
  reason: Schema.Literals(["unknown", "revoked", "expired"])
}) {
  override get message() {
    return `The API key is refused (${this.reason}): ${remedies[this.reason]}.`
  }
}

/** A key has made as many requests as it may. */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", {
  /** Requests a minute. */
  limit: Schema.Int,
  /** Milliseconds after which another request may be made. */
  retryAfterMs: Schema.Int
}) {
  override get message() {
    return `The key may make ${this.limit} requests a minute and has made them: wait ${(this.retryAfterMs / 1000).toFixed(1)} s.`
  }
}
