import * as Context from "effect/Context"
import { OrgId } from "../Run.ts"

/** The organisation on whose behalf something is done. Doors provide it; the embedded runtime has one, `local`. */
export const CurrentOrg = Context.Reference<OrgId>("conductor-ai/Org/CurrentOrg", {
  defaultValue: () => OrgId.make("local")
})

/** Who does something, as the audit log names them. Doors provide it: `key:<id>` for a request with a key. */
export const CurrentPrincipal = Context.Reference<string>("conductor-ai/Org/CurrentPrincipal", {
  defaultValue: () => "local"
})
