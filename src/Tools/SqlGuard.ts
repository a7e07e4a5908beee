import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { grammar, refusals, statementName } from "./SqlGuard/Grammar.ts"
import { functions, operators, types, valueFunctions } from "./SqlGuard/Names.ts"

/** A query that is not run, because it is no query, or may do more than read the allowed tables. */
export class SqlRefused extends Schema.TaggedError<SqlRefused>()("SqlRefused", {
  /** What is refused. */
  thing: Schema.String,
  /** What to write instead. */
  remedy: Schema.String
}) {
  override get message() {
    return `${this.thing}: ${this.remedy}.`
  }
}

/** Says whether a text is one harmless query; gives that query without what stood around it. */
export type Guard = (text: string) => Result.Result<string, SqlRefused>

/**
 * Bytes of a query at most. The parser recurses, and a stack that overflows in it breaks it for good: the shortest text
 * that does so has 19,000 bytes (Node 24).
 */
export const maxBytes = 10_000

type Json = { readonly [key: string]: unknown }

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** The names of the common table expressions that a place in the query can see. */
interface Scope {
  readonly name: string
  readonly outer: Scope | undefined
}

const sees = (scope: Scope | undefined, name: string): boolean => {
  for (let at = scope; at !== undefined; at = at.outer) if (at.name === name) return true
  return false
}

/** A part of the tree that is still to be looked at. */
interface Task {
  readonly tree: unknown
  /** The kind where the tree does not say it. */
  readonly kind: string | undefined
  readonly scope: Scope | undefined
}

type Refusal = readonly [thing: string, remedy: string]

const quoted = (name: string) => name.length > 60 ? `${name.slice(0, 60)}…` : name

/** The texts of a list of `String` nodes; anything else in it is `*`. */
const names = (list: unknown): ReadonlyArray<string> =>
  Array.isArray(list)
    ? list.map((item: unknown) =>
      isObject(item) && isObject(item["String"]) && typeof item["String"]["sval"] === "string" ? item["String"]["sval"] : "*"
    )
    : []

/** The one name that stands without a schema, or in `pg_catalog`, as the parser itself writes it for SQL's own syntax. */
const builtin = (parts: ReadonlyArray<string>): string | undefined =>
  parts.length === 1 || (parts.length === 2 && parts[0] === "pg_catalog") ? parts.at(-1) : undefined

const operator = (list: unknown): Refusal | undefined => {
  const parts = names(list)
  if (parts.length > 1) return ["OPERATOR(...) with a schema is not allowed", "write the operator alone"]
  const name = parts[0]
  return name === undefined || operators.has(name)
    ? undefined
    : [`The operator ${quoted(name)} is not allowed`, "use comparison, arithmetic, text, range and jsonb operators"]
}

/** `row.name` calls the function of that name where the row has no such column. */
const attribute = (list: unknown): Refusal | undefined => {
  const parts = names(list)
  const last = parts.at(-1)
  return last?.startsWith("pg_") === true ? [`The column ${quoted(last)} is not allowed`, "name a column of the table"] : undefined
}

const relation = (node: Json, scope: Scope | undefined, relations: ReadonlySet<string>): Refusal | undefined => {
  const name = String(node["relname"])
  const schema = node["schemaname"]
  const remedy = `read from ${[...relations].toSorted().join(", ")} or a WITH query`
  if (schema !== undefined && schema !== "public") return [`The schema ${quoted(String(schema))} is not open to queries`, remedy]
  if (schema === undefined && sees(scope, name)) return undefined
  return relations.has(name) ? undefined : [`The table ${quoted(name)} is not open to queries`, remedy]
}

/** What is wrong with a node beyond its kind and fields. */
const check = (kind: string, node: Json, scope: Scope | undefined, relations: ReadonlySet<string>): Refusal | undefined => {
  switch (kind) {
    case "RangeVar":
      return relation(node, scope, relations)
    case "FuncCall": {
      const parts = names(node["funcname"])
      const name = builtin(parts)
      return name !== undefined && functions.has(name)
        ? undefined
        : [`The function ${quoted(parts.join("."))} is not allowed`, "use aggregate, window, text, number, date and json functions only"]
    }
    case "TypeName": {
      const parts = names(node["names"])
      const name = builtin(parts)
      return name !== undefined && types.has(name)
        ? undefined
        : [`A cast to ${quoted(parts.join("."))} is not allowed`, "cast to text, numeric, integer, date, timestamptz, interval or jsonb"]
    }
    case "SQLValueFunction":
      return valueFunctions.has(node["op"])
        ? undefined
        : [
          `${String(node["op"]).replace("SVFOP_", "")} is not allowed`,
          "of the values without parentheses use CURRENT_DATE and CURRENT_TIMESTAMP only"
        ]
    case "A_Expr":
      return operator(node["name"])
    case "SubLink":
      return operator(node["operName"])
    case "ColumnRef":
      return attribute(node["fields"])
    case "A_Indirection":
      return attribute(node["indirection"])
    case "RangeTableSample": {
      const method = names(node["method"]).join(".")
      return method === "system" || method === "bernoulli"
        ? undefined
        : [`The sampling method ${quoted(method)} is not allowed`, "use TABLESAMPLE BERNOULLI or SYSTEM"]
    }
    default:
      return undefined
  }
}

const unknown = (what: string): Refusal =>
  refusals.get(what) ?? (/^[A-Za-z]+Stmt$/.test(what)
    ? [`${statementName(what)} is not allowed`, "this tool only reads, so write a SELECT without it"]
    : [`This part of SQL (${quoted(what)}) is not allowed`, "write the query in plainer SQL"])

/** Puts the queries of a WITH clause on the list of tasks, and gives the scope of what follows the clause. */
const withScope = (clause: unknown, outer: Scope | undefined, tasks: Array<Task>): Scope | undefined => {
  if (!isObject(clause) || !Array.isArray(clause["ctes"])) return outer
  const expressions: ReadonlyArray<unknown> = clause["ctes"]
  const nameOf = (item: unknown) => isObject(item) && isObject(item["CommonTableExpr"]) ? String(item["CommonTableExpr"]["ctename"]) : ""
  let scope = outer
  if (clause["recursive"] === true) {
    // Each sees all of them, itself included.
    for (const item of expressions) scope = { name: nameOf(item), outer: scope }
    for (const item of expressions) tasks.push({ tree: item, kind: undefined, scope })
    return scope
  }
  for (const item of expressions) {
    tasks.push({ tree: item, kind: undefined, scope })
    scope = { name: nameOf(item), outer: scope }
  }
  return scope
}

/** Looks at one node, puts what is in it on the list of tasks, and says what is wrong. */
const visit = (task: Task, tasks: Array<Task>, relations: ReadonlySet<string>): Refusal | undefined => {
  const { tree } = task
  if (Array.isArray(tree)) {
    for (const item of tree) tasks.push({ tree: item, kind: undefined, scope: task.scope })
    return undefined
  }
  if (!isObject(tree)) return ["The query cannot be understood", "write it in plainer SQL"]
  let kind = task.kind
  let node: unknown = tree
  if (kind === undefined) {
    const kinds = Object.keys(tree)
    // An empty place in a list, as the `*` of `count(*)` or a plain DISTINCT leave one.
    if (kinds.length === 0) return undefined
    kind = kinds.length === 1 ? kinds[0] : undefined
    node = kind === undefined ? undefined : tree[kind]
  }
  const known = kind === undefined ? undefined : grammar.get(kind)
  if (kind === undefined || known === undefined || !isObject(node)) return unknown(kind ?? "a node of several kinds")
  const inner = withScope(node["withClause"], task.scope, tasks)
  for (const [name, value] of Object.entries(node)) {
    const field = Object.hasOwn(known, name) ? known[name] : undefined
    if (field === undefined) return unknown(`${kind}.${name}`)
    if (field === "value") {
      if (isObject(value) ? Object.values(value).some((part) => typeof part === "object") : typeof value === "object") {
        return unknown(`${kind}.${name}`)
      }
    } else if (field === "WithClause") {
      const extra = isObject(value) ? Object.keys(value).find((key) => grammar.get("WithClause")?.[key] === undefined) : name
      if (extra !== undefined) return unknown(`WithClause.${extra}`)
    } else tasks.push({ tree: value, kind: field === "tree" ? undefined : field, scope: inner })
  }
  return check(kind, node, task.scope, relations)
}

/** Leaves every character as it is, a byte order mark too. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const only = "send one SELECT alone"

/** The one statement of a parse result, with its place in the text, in bytes. */
const single = (parsed: unknown): Refusal | { readonly query: unknown; readonly start: number; readonly length: number | undefined } => {
  const statements: unknown = isObject(parsed) ? parsed["stmts"] : undefined
  if (!Array.isArray(statements)) return ["The query cannot be understood", only]
  if (statements.length === 0) return ["The query is empty", only]
  if (statements.length > 1) return [`There are ${statements.length} statements`, only]
  const statement: unknown = statements[0]
  const tree: unknown = isObject(statement) ? statement["stmt"] : undefined
  if (!isObject(statement) || !isObject(tree)) return ["The query cannot be understood", only]
  const kind = Object.keys(tree)[0] ?? ""
  if (kind !== "SelectStmt") return [`${statementName(kind)} is not allowed`, "this tool only reads, so write a SELECT"]
  const { stmt_len: length, stmt_location: start } = statement
  return { query: tree, start: typeof start === "number" ? start : 0, length: typeof length === "number" ? length : undefined }
}

const refuse = ([thing, remedy]: Refusal) => Result.fail(new SqlRefused({ thing: thing.replaceAll(/\s+/g, " "), remedy }))

/** Looks at a whole parse tree as the parser made it; gives what is wrong with it, or nothing. */
export const problemOf = (tree: unknown, relations: ReadonlySet<string>): Refusal | undefined => {
  const tasks: Array<Task> = [{ tree, kind: undefined, scope: undefined }]
  for (let task = tasks.pop(); task !== undefined; task = tasks.pop()) {
    const refusal = visit(task, tasks, relations)
    if (refusal !== undefined) return refusal
  }
  return undefined
}

/**
 * Loads Postgres 18's own parser and gives the guard of a list of tables and views of the schema `public`. The guard
 * accepts one SELECT (or VALUES, or TABLE) that reads from these alone and calls only functions that compute; it refuses
 * whatever it does not know.
 */
export const make = Effect.fn("SqlGuard.make")(function*(relations: ReadonlySet<string>): Effect.fn.Return<Guard> {
  const parser = yield* Effect.promise(() => import("libpg-query"))
  yield* Effect.promise(() => parser.loadModule())
  return (text) => {
    // Either would make the parser see another text than the database.
    if (text.includes("\0") || !text.isWellFormed()) return refuse(["The query has characters that are no text", "write it without them"])
    const bytes = new TextEncoder().encode(text)
    if (bytes.length > maxBytes) return refuse([`The query has ${bytes.length} bytes`, `write one of ${maxBytes} at most`])
    if (text.trim() === "") return refuse(["The query is empty", only])
    const parsed = Result.try({
      try: (): unknown => parser.parseSync(text),
      catch: (cause) => cause instanceof Error ? cause.message : String(cause)
    })
    if (Result.isFailure(parsed)) return refuse([`The query does not parse (${parsed.failure.slice(0, 200)})`, "correct it"])
    const statement = single(parsed.success)
    if ("query" in statement === false) return refuse(statement)
    const refusal = problemOf(statement.query, relations)
    if (refusal !== undefined) return refuse(refusal)
    const end = statement.length === undefined ? bytes.length : statement.start + statement.length
    return Result.succeed(decoder.decode(bytes.subarray(statement.start, end)))
  }
})
