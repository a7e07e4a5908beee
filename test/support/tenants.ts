/** The stores that the contract suites of organisations and keys run on: memory, embedded, Postgres; each fresh. */
import { NodeCrypto } from "@effect/platform-node"
import { Context, Effect, Layer } from "effect"
import { AuditLog } from "../../src/AuditLog.ts"
import { Keys, Orgs } from "../../src/Org.ts"
import { RunLog } from "../../src/RunLog.ts"
import { databases } from "./databases.ts"

/** The keys as another process on the same store sees them. */
export class Another extends Context.Service<Another, Keys["Service"]>()("test/Another") {}

const another = <E, R>(keys: Layer.Layer<Keys, E, R>) =>
  Layer.effect(Another, Effect.map(Layer.build(Layer.fresh(keys)), (context) => Another.of(Context.get(context, Keys))))

type Rooms = AuditLog | Another | Keys | Orgs

export const tenants: ReadonlyArray<{ readonly name: string; readonly layer: Layer.Layer<Rooms, unknown> }> = [
  {
    name: "memory",
    layer: Layer.mergeAll(Keys.layerMemory, Orgs.layerMemory, another(Keys.layerMemory)).pipe(
      Layer.provideMerge(AuditLog.layerMemory),
      Layer.provide(RunLog.layerMemory([], [])),
      Layer.provide(NodeCrypto.layerSecureRandom)
    )
  },
  ...databases.map(({ layer, name }) => ({
    name,
    layer: Layer.mergeAll(Keys.layer, Orgs.layer, another(Keys.layer)).pipe(
      Layer.provideMerge(AuditLog.layer),
      Layer.provide(NodeCrypto.layerSecureRandom),
      Layer.provideMerge(layer)
    )
  }))
]
