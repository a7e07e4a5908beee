import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api, NotFound, type SessionMessage, type SessionRow } from "../Api.ts"
import { Conductor } from "../Conductor.ts"
import { CurrentOrg } from "../Org.ts"
import { clean, type RunId, type RunState, SessionId, Transcript } from "../Run.ts"
import { type Session, Sessions } from "../Session.ts"
import { rowOf } from "./View.ts"

const shown = ({ createdAt, runs, session }: Session): SessionRow => ({ session, createdAt, runs })

const messageOf = (run: RunId) => (message: Transcript.Message): SessionMessage => {
  if (message.role === "user") return { run, role: "user", text: message.text }
  if (message.role === "tool") return { run, role: "tool", text: "", results: message.results }
  const calls = Transcript.toolCallsOf(message.parts).map(({ arguments: text, id, name }) => ({ id, name, arguments: text }))
  const said = { run, role: "assistant", text: Transcript.textOf(message.parts), model: message.model } as const
  return calls.length === 0 ? said : { ...said, calls }
}

const messagesOf = ({ messages, run }: RunState) => messages.map(messageOf(run))

/** Handlers of conversations. */
export const layer = HttpApiBuilder.group(Api, "sessions", Effect.fnUntraced(function*(handlers) {
  const sessions = yield* Sessions
  const conductor = yield* Conductor
  const random = yield* SecureRandom.SecureRandom
  return handlers.handleAll({
    list: Effect.fn("Api.sessions")(function*({ query: { before, limit = 50 } }) {
      const rows = yield* sessions.list(yield* CurrentOrg, {
        limit: limit + 1,
        ...(before === undefined ? {} : { before: SessionId.make(before) })
      })
      const page = rows.slice(0, limit).map(shown)
      return { sessions: page, next: rows.length > limit ? page.at(-1)?.session ?? null : null }
    }),
    create: Effect.fn("Api.newSession")(function*({ payload }) {
      const session = payload?.session ?? (yield* random.uuidV7())
      return shown(yield* sessions.create(yield* CurrentOrg, SessionId.make(clean(session))))
    }),
    get: Effect.fn("Api.session")(function*({ params, query: { before, limit = 20 } }) {
      const org = yield* CurrentOrg
      const found = yield* sessions.find(org, SessionId.make(params.session))
      if (Option.isNone(found)) return yield* new NotFound({ what: `session "${params.session.slice(0, 200)}"` })
      const rows = yield* conductor.list({ session: found.value.session, limit: limit + 1, ...(before === undefined ? {} : { before }) })
      const runs = rows.slice(0, limit)
      const states = yield* Effect.forEach(runs.toReversed(), ({ run }) => Effect.option(conductor.state(run)), { concurrency: 4 })
      return {
        session: found.value.session,
        createdAt: found.value.createdAt,
        runs: runs.map(rowOf),
        messages: states.flatMap((state) => Option.isNone(state) ? [] : messagesOf(state.value)),
        next: rows.length > limit ? runs.at(-1)?.run ?? null : null
      }
    })
  })
}))
