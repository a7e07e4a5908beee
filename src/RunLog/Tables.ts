import * as Context from "effect/Context"
import * as Layer from "effect/Layer"

/** The tables of a database that is process memory; each room keeps its own under its own name. */
export class Tables extends Context.Service<Tables, {
  /** The table of that name, made on first use. */
  readonly get: <A>(name: string, make: () => A) => A
}>()("conductor-ai/RunLog/Tables") {
  static readonly layer = Layer.sync(Tables, () => {
    const tables = new Map<string, unknown>()
    return Tables.of({
      get: <A>(name: string, make: () => A): A => {
        if (!tables.has(name)) tables.set(name, make())
        return tables.get(name) as A // a name belongs to one room, which always makes the same type
      }
    })
  })
}
