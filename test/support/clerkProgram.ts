/** The command line as a process, with the clerk among its agents. */
import { Effect } from "effect"
import { launch, program } from "../../src/Cli.ts"
import { Agents } from "../../src/Cli/Agents.ts"
import { withClerk } from "./clerk.ts"

launch(program(process.argv.slice(2)).pipe(Effect.provideService(Agents, withClerk)))
