import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { OrgId, RunId } from "../Run.ts"

/** Identifies a memory; a UUIDv7. */
export const MemoryId = Schema.String.pipe(Schema.brand("MemoryId"))
export type MemoryId = typeof MemoryId.Type

/** Whose a memory is: the whole organisation's, one agent's (`agent:clerk`) or one user's (`user:ada`). */
export const Scope = Schema.Union([
  Schema.Literal("org"),
  Schema.TemplateLiteral(["agent:", Schema.NonEmptyString]),
  Schema.TemplateLiteral(["user:", Schema.NonEmptyString])
])
export type Scope = typeof Scope.Type

/** Something that is remembered. Times are milliseconds since 1970. */
export const Fact = Schema.Struct({
  id: MemoryId,
  org: OrgId,
  scope: Scope,
  text: Schema.String,
  /** The run and the tool call that it is from; null for what was told from outside. */
  sourceRun: Schema.NullOr(RunId),
  sourceCall: Schema.NullOr(Schema.String),
  createdBy: Schema.String,
  createdAt: Schema.Int,
  /** Null for what is kept until somebody forgets it. */
  expiresAt: Schema.NullOr(Schema.Int)
})
export type Fact = typeof Fact.Type

/** A memory that a question found, and which part of the question's words is in it, up to 1. */
export interface Found extends Fact {
  readonly score: number
}

/** Something to remember. */
export interface NewFact {
  readonly text: string
  /** The whole organisation's by default. */
  readonly scope?: Scope
  /** Until it is forgotten, by default. */
  readonly expires?: Duration.Input
  readonly source?: { readonly run: RunId; readonly call: string }
  /** What is remembered again under the same key is taken for the first. */
  readonly dedupe?: string
}

/** What somebody wants to know. */
export interface Question {
  /** Words, in any order; not all of them need to be in a memory. */
  readonly text: string
  /** Every scope by default. */
  readonly scopes?: ReadonlyArray<Scope> | undefined
  /** 10 by default. */
  readonly limit?: number
}

/** Which memories to list, newest first. */
export interface Filter {
  readonly scopes?: ReadonlyArray<Scope> | undefined
  /** Memories older than this one. */
  readonly before?: MemoryId
  /** 100 by default. */
  readonly limit?: number
}

/** What to forget: one memory (of one of these scopes, where they are given), all of a scope, or everything that contains a text. */
export type Forgetting =
  | { readonly id: MemoryId; readonly scopes?: ReadonlyArray<Scope> }
  | { readonly scope: Scope }
  | { readonly text: string }

/** What was forgotten. */
export interface Forgotten {
  /** Memories that are gone. */
  readonly memories: number
  /** Runs under way, or begun meanwhile, that may have heard of it: their logs are looked through when they are over. */
  readonly waiting: ReadonlyArray<RunId>
}
