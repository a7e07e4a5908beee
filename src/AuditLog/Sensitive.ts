import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import type { SecretPath } from "./Redact.ts"

const isRedacted = ({ annotations }: SchemaAST.AST): boolean => {
  const representation: unknown = annotations?.["representation"]
  return Predicate.hasProperty(representation, "id") && representation.id === "effect/schema/Redacted"
}

const isMarked = (ast: SchemaAST.AST): boolean =>
  ast.annotations?.["sensitive"] === true ||
  isRedacted(ast) ||
  (ast.checks ?? []).some((check) => check.annotations?.["sensitive"] === true)

/** The schemas directly inside, each with the name that leads to it, or none where it stands for the same value. */
const inside = (ast: SchemaAST.AST): ReadonlyArray<readonly [name: string | undefined, ast: SchemaAST.AST]> => {
  const encoded = (ast.encoding ?? []).map((link) => [undefined, link.to] as const)
  switch (ast._tag) {
    case "Objects":
      return [
        ...ast.propertySignatures.map((property) => [String(property.name), property.type] as const),
        ...ast.indexSignatures.map((signature) => ["*", signature.type] as const),
        ...encoded
      ]
    case "Arrays":
      return [...[...ast.elements, ...ast.rest].map((element) => ["*", element] as const), ...encoded]
    case "Union":
      return [...ast.types.map((type) => [undefined, type] as const), ...encoded]
    case "Declaration":
      return [...ast.typeParameters.map((type) => [undefined, type] as const), ...encoded]
    case "Suspend":
      return [[undefined, ast.thunk()], ...encoded]
    default:
      return encoded
  }
}

/** True where a value of that schema can hold something sensitive, however deep. */
const holds = (ast: SchemaAST.AST, seen: Set<SchemaAST.AST>): boolean => {
  if (isMarked(ast)) return true
  if (seen.has(ast)) return false
  seen.add(ast)
  return inside(ast).some(([, child]) => holds(child, seen))
}

/**
 * Where the values of a schema hold what is marked with `Tool.sensitive` (or is a `Schema.Redacted`): in structs, records, arrays,
 * unions, optional fields and on either side of a transformation. Where a recursive schema comes back to itself with something sensitive
 * in it, the whole value is taken for sensitive.
 */
export const sensitivePaths = (schema: Schema.Constraint): ReadonlyArray<SecretPath> => {
  const found = new Map<string, SecretPath>()
  const walk = (ast: SchemaAST.AST, path: SecretPath, above: ReadonlyArray<SchemaAST.AST>): void => {
    if (isMarked(ast) || (above.includes(ast) && holds(ast, new Set()))) {
      found.set(JSON.stringify(path), path)
    } else if (!above.includes(ast)) {
      for (const [name, child] of inside(ast)) walk(child, name === undefined ? path : [...path, name], [...above, ast])
    }
  }
  walk(schema.ast, [], [])
  return [...found.values()]
}
