import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { answered, Database, problemOf } from "./Database.ts"
import {
  ApprovalId, clean, InboxId, isOver, maxText, type OrgId, RunConflict, RunId, RunNotFound, type SessionId, SteerMode, StorageFailed
} from "./Run.ts"
import { type Append, CommandsWaiting, FlushPatience, type Gate, type Projection, Store, Tables } from "./RunLog.ts"

/** What somebody wants of a run. */
export const Command = Schema.TaggedUnion({
  /** Say something to the agent; it is heard before the next turn, unless its mode says otherwise. */
  Message: { text: Schema.String, mode: Schema.optionalKey(SteerMode) },
  /** Decide about a tool call that waits for approval. */
  Decision: {
    approval: ApprovalId,
    digest: Schema.String,
    decision: Schema.Literals(["approved", "denied"]),
    /** JSON text of other parameters than the model's. */
    parameters: Schema.NullOr(Schema.String),
    comment: Schema.NullOr(Schema.String)
  },
  /** Say what became of a tool call whose outcome nobody knows. */
  Resolve: {
    call: Schema.String,
    resolution: Schema.Literals(["happened", "did-not-happen", "run-again"]),
    /** JSON text of its result, or a sentence for the model. */
    result: Schema.NullOr(Schema.String),
    comment: Schema.NullOr(Schema.String)
  },
  Cancel: { reason: Schema.NullOr(Schema.String) }
})
export type Command = typeof Command.Type

/** A command in a run's inbox, in the order in which it was accepted. */
export interface Waiting {
  readonly id: InboxId
  readonly run: RunId
  readonly command: Command
  readonly by: string
}

/** A command to put into an inbox. */
export interface Letter {
  readonly run: RunId
  readonly command: Command
  /** Who wants it. */
  readonly by: string
  /** A second command of the same key for the same run is taken for the first; by default each is its own. */
  readonly dedupe?: string
}

/** Who a command is for. */
export type Addressee = { readonly run: RunId } | { readonly org: OrgId; readonly session: SessionId }

const cleaned = (text: string | null): string | null => text === null ? null : clean(text)

/** The command as it can be stored; a message that says nothing, or too much, is refused. */
const checked = ({ command, run }: Letter): Effect.Effect<Command, RunConflict> => {
  if (command._tag === "Cancel") return Effect.succeed({ ...command, reason: cleaned(command.reason) })
  if (command._tag === "Decision") {
    return Effect.succeed({ ...command, parameters: cleaned(command.parameters), comment: cleaned(command.comment) })
  }
  if (command._tag === "Resolve") return Effect.succeed({ ...command, result: cleaned(command.result), comment: cleaned(command.comment) })
  const problem = command.text.trim() === ""
    ? "an empty message says nothing to it."
    : command.text.length > maxText
    ? `a message has ${maxText / 1e6} million characters at most; put long material where a tool of the agent can read it.`
    : undefined
  return problem === undefined ? Effect.succeed({ ...command, text: clean(command.text) }) : Effect.fail(new RunConflict({ run, problem }))
}

const kindOf = (command: Command) => command._tag.toLowerCase()

const over = (run: RunId, status: string) =>
  new RunConflict({ run, problem: `it is ${status}, so it takes no commands; start another run in its session.` })

interface Kept {
  waiting: Waiting
  readonly dedupe: string
  consumed: boolean
}

/** The inboxes of a process, by run. */
const table = (tables: Tables["Service"]) =>
  tables.get("inbox", () => {
    const runs = new Map<RunId, Array<Kept>>()
    const of = (run: RunId) => runs.get(run) ?? []
    return {
      waiting: (run: RunId): ReadonlyArray<Waiting> => of(run).filter((kept) => !kept.consumed).map((kept) => kept.waiting),
      find: (run: RunId, dedupe: string) => of(run).find((kept) => kept.dedupe === dedupe),
      put: (waiting: Waiting, dedupe: string) => runs.set(waiting.run, [...of(waiting.run), { waiting, dedupe, consumed: false }]),
      consume: (run: RunId, id: string) => {
        for (const kept of of(run)) kept.consumed ||= kept.waiting.id === id
      },
      rewrite: (run: RunId, change: (command: Command) => Command) => {
        for (const kept of of(run)) kept.waiting = { ...kept.waiting, command: change(kept.waiting.command) }
      },
      addressed: (): ReadonlyArray<RunId> => [...runs.keys()].filter((run) => of(run).some((kept) => !kept.consumed))
    }
  })

/** Puts other commands in the place of those of a run in process memory. */
export const rewriteCommands = (tables: Tables["Service"], run: RunId, change: (command: Command) => Command): void =>
  table(tables).rewrite(run, change)

/** True where nobody performs the run after this. */
const rests = (append: Append): boolean => {
  const { status } = (append.steps.at(-1) ?? append.steps[0]).after
  return status === "parked" || isOver(status)
}

/** Refuses to end or park a run while commands wait for it. */
export const gate: Gate = {
  name: "inbox",
  ask: (append, index) => rests(append) ? [[String(index), append.run]] : [],
  judge: (appends, isOut, tables) => {
    const letters = table(tables)
    return appends.flatMap((append, index) =>
      !isOut(index) && rests(append) && letters.waiting(append.run).length > 0
        ? [{ append: index, refuse: { _tag: "CommandsWaiting" } }]
        : []
    )
  },
  refusal: (refuse, append) => refuse["_tag"] === "CommandsWaiting" ? new CommandsWaiting({ run: append.run }) : undefined
}

/** Marks commands as consumed by the events that record them. */
export const projection: Projection = {
  name: "inbox",
  order: 0,
  rows: ({ consumes }, index) => consumes.map(({ id, seq }) => [String(index), id, String(seq)]),
  keep: ({ consumes, run }, tables) => {
    for (const { id } of consumes) table(tables).consume(run, id)
  }
}

const channel = "conductor_inbox"

/**
 * How arrivals are told: to every process by NOTIFY where the database has sessions to listen in, else to this process.
 * A notice that is lost costs a second: inboxes are looked through that often.
 */
const announcer = Effect.fnUntraced(function*(arrived: PubSub.PubSub<RunId>) {
  const { listen } = yield* Database
  const pg = yield* PgClient.PgClient
  if (!listen) return (run: RunId): Effect.Effect<void> => Effect.asVoid(PubSub.publish(arrived, run))
  const listener = Effect.scoped(Effect.gen(function*() {
    const notices = yield* pg.listen(channel)
    return yield* Effect.forever(Effect.flatMap(Queue.take(notices), ({ payload }) => PubSub.publish(arrived, RunId.make(payload))))
  })).pipe(
    Effect.tapError((error) => Effect.logDebug(`Not listening for commands: ${error.message}`)),
    Effect.retry(Schedule.spaced("1 second"))
  )
  // Not waited for when it ends: over a dead network not even UNLISTEN is answered.
  yield* Effect.acquireRelease(Effect.forkDetach(listener), (fiber) => Effect.sync(() => fiber.interruptUnsafe()))
  return (run: RunId): Effect.Effect<void> =>
    Effect.andThen(PubSub.publish(arrived, run), Effect.ignore(pg.notify(channel, run)))
})

/** The commands for runs: durable, in order, each consumed once. */
export class Inbox extends Context.Service<Inbox, {
  /**
   * Accepts a command: when this returns, it is durable. `isFirst` is false where an earlier one of the same key stands for it, which
   * for a message it does also once the run is over.
   */
  readonly send: (letter: Letter) => Effect.Effect<
    { readonly id: InboxId; readonly isFirst: boolean },
    RunNotFound | RunConflict | StorageFailed
  >
  /** The commands of a run that nobody has consumed, oldest first. */
  readonly waiting: (run: RunId) => Effect.Effect<ReadonlyArray<Waiting>, StorageFailed>
  /** The command of a key that was accepted for a run, or for one of a conversation, whatever has become of both. */
  readonly accepted: (by: Addressee, dedupe: string) => Effect.Effect<Option.Option<Pick<Waiting, "id" | "run">>, StorageFailed>
  /** The runs with commands that nobody has consumed. */
  readonly addressed: Effect.Effect<ReadonlyArray<RunId>, StorageFailed>
  /** Runs whose inbox got a command in this process, from now on. */
  readonly arrivals: Effect.Effect<PubSub.Subscription<RunId>, never, Scope.Scope>
}>()("conductor-ai/Inbox") {
  /** Inboxes in Postgres. */
  static readonly layer = Layer.effect(Inbox, Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const store = yield* Store
    const random = yield* SecureRandom.SecureRandom
    const arrived = yield* PubSub.sliding<RunId>(1024)
    const announce = yield* announcer(arrived)
    const encode = Schema.encodeUnknownSync(Schema.fromJsonString(Command))
    const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Command))
    const patience = yield* FlushPatience
    const reply = (operation: string) => <A, R>(statement: Effect.Effect<A, SqlError, R>) =>
      Effect.mapError(
        answered(patience, statement),
        (error) => new StorageFailed({ operation, problem: problemOf(error), cause: error })
      )

    const accepted = Effect.fn("Inbox.accepted")((by: Addressee, dedupe: string) =>
      sql<{ readonly id: InboxId; readonly run: RunId }>`
        SELECT i.id, i.run_id AS run FROM runs r JOIN run_inbox i ON i.run_id = r.id
        WHERE ${"run" in by ? sql`r.id = ${by.run}` : sql`r.org_id = ${by.org} AND r.session_id = ${by.session}`}
          AND i.dedupe = ${clean(dedupe)} LIMIT 1`.pipe(Effect.map(([row]) => Option.fromUndefinedOr(row)), reply("inbox"))
    )

    const send = Effect.fn("Inbox.send")(function*(letter: Letter) {
      const command = yield* checked(letter)
      const id = InboxId.make(yield* random.uuidV7())
      const dedupe = letter.dedupe ?? id
      const [row] = yield* sql<{ readonly id: InboxId }>`
        WITH run AS (SELECT id, org_id, ended_at FROM runs WHERE id = ${letter.run} FOR SHARE)
        INSERT INTO run_inbox (id, run_id, org_id, kind, payload, dedupe, principal)
        SELECT ${id}, run.id, run.org_id, ${kindOf(command)}, ${encode(command)}, ${clean(dedupe)}, ${clean(letter.by)}
        FROM run WHERE run.ended_at IS NULL
        ON CONFLICT (run_id, dedupe) DO UPDATE SET dedupe = excluded.dedupe
        RETURNING id`.pipe(reply("send"))
      if (row === undefined) {
        // What was accepted while the run went on stays accepted.
        const known = letter.dedupe === undefined || command._tag !== "Message" ? Option.none() : yield* accepted(letter, dedupe)
        if (Option.isSome(known)) return { id: known.value.id, isFirst: false }
        const run = yield* store.find(letter.run)
        return yield* run._tag === "None"
          ? new RunNotFound({ run: letter.run })
          : over(letter.run, run.value.status)
      }
      yield* announce(letter.run)
      return { id: row.id, isFirst: row.id === id }
    })

    const waiting = (run: RunId) =>
      sql<{ readonly id: InboxId; readonly payload: string; readonly principal: string }>`
        SELECT id, payload, principal FROM run_inbox WHERE run_id = ${run} AND consumed_seq IS NULL ORDER BY id`.pipe(
        Effect.map((rows) =>
          rows.map((row): Waiting => ({ id: row.id, run, command: decode(row.payload), by: row.principal }))
        ),
        reply("inbox")
      )

    return Inbox.of({
      send,
      waiting,
      accepted,
      addressed: sql<{ readonly run_id: RunId }>`
        SELECT DISTINCT run_id FROM run_inbox WHERE consumed_seq IS NULL`.pipe(
        Effect.map((rows) => rows.map((row) => row.run_id)),
        reply("inbox")
      ),
      arrivals: PubSub.subscribe(arrived)
    })
  }))

  /** Inboxes in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Inbox, Effect.gen(function*() {
    const letters = table(yield* Tables)
    const store = yield* Store
    const random = yield* SecureRandom.SecureRandom
    const arrived = yield* PubSub.sliding<RunId>(1024)
    return Inbox.of({
      send: Effect.fn("Inbox.send")(function*(letter: Letter) {
        const run = yield* store.find(letter.run)
        if (run._tag === "None") return yield* new RunNotFound({ run: letter.run })
        const command = yield* checked(letter)
        const id = InboxId.make(yield* random.uuidV7())
        const dedupe = letter.dedupe ?? id
        const known = letters.find(letter.run, dedupe)
        const isEnded = isOver(run.value.status)
        // What was accepted while the run went on stays accepted.
        if (known !== undefined && (!isEnded || command._tag === "Message")) return { id: known.waiting.id, isFirst: false }
        if (isEnded) return yield* over(letter.run, run.value.status)
        letters.put({ id, run: letter.run, command, by: clean(letter.by) }, dedupe)
        yield* PubSub.publish(arrived, letter.run)
        return { id, isFirst: true }
      }),
      waiting: (run) => Effect.sync(() => letters.waiting(run)),
      accepted: Effect.fnUntraced(function*(by, dedupe) {
        const runs = "run" in by ? [by] : yield* store.as(by.org).list({ session: by.session, limit: Infinity })
        const known = runs.flatMap(({ run }) => letters.find(run, dedupe) ?? [])
        return Option.map(Option.fromUndefinedOr(known[0]), ({ waiting: { id, run } }) => ({ id, run }))
      }),
      addressed: Effect.sync(letters.addressed),
      arrivals: PubSub.subscribe(arrived)
    })
  }))
}
