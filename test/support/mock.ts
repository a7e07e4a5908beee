import { LLMock } from "@copilotkit/aimock"
import { Effect, type Scope } from "effect"

/** Somebody else's double of the providers, so that our own bytes are not the only witness; it ends with the scope. */
export const mock = (prepare: (mock: LLMock) => void): Effect.Effect<LLMock, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = new LLMock({ port: 0 })
      prepare(server)
      await server.start()
      return server
    }),
    (server) => Effect.promise(() => server.stop())
  )
