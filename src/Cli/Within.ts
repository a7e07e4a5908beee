import type * as NodeServices from "@effect/platform-node/NodeServices"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as HttpServer from "effect/http/HttpServer"
import type * as Server from "../Server.ts"
import type { Output } from "./Output.ts"
import type { Services } from "./Runtime.ts"
import type { Signals } from "./Signals.ts"

/** What a server brings to a command that it carries out: its runtime, and itself. */
export type Served = Services | Server.Tickets | HttpServer.HttpServer

/**
 * The server within which a command is carried out, for a program that found its data directory held by that server;
 * nothing in a program that opens its database itself.
 */
export const Within = Context.Reference<Option.Option<Context.Context<Served>>>("conductor-ai/Cli/Within", {
  defaultValue: () => Option.none()
})

/** The program as a function of its arguments: what it ends with is its exit code. */
export type Program = (args: ReadonlyArray<string>) => Effect.Effect<number, never, Output | Signals | Layer.Success<typeof NodeServices.layer>>

/** The program itself, so that a server can carry out commands for others. */
export const Itself = Context.Reference<Program | undefined>("conductor-ai/Cli/Itself", { defaultValue: () => undefined })
