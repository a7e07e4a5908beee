/**
 * What a field holds: a plain value, a tree (a node by its kind, or a list of them), or one node whose kind is not written
 * because it can be no other.
 */
type Field = "value" | "tree" | Embedded

const fields = <const Value extends string, const Tree extends string = never>(value: Value, tree?: Tree): Readonly<Record<string, Field>> => {
  const out: Record<string, Field> = Object.create(null)
  for (const name of value.split(" ")) if (name !== "") out[name] = "value"
  for (const name of (tree ?? "").split(" ")) if (name !== "") out[name] = "tree"
  return out
}

type Embedded = "SelectStmt" | "WithClause" | "Alias" | "TypeName" | "WindowDef" | "RangeVar"

/**
 * The kinds of node of a parse tree that a query may consist of, each with its fields. What is not here is refused, so a
 * parser that knows more than this table can only refuse more.
 */
export const grammar: ReadonlyMap<string, Readonly<Record<string, Field>>> = new Map(Object.entries({
  SelectStmt: {
    ...fields(
      "groupDistinct limitOption op all",
      "distinctClause targetList fromClause whereClause groupClause havingClause windowClause valuesLists sortClause limitOffset limitCount"
    ),
    withClause: "WithClause",
    larg: "SelectStmt",
    rarg: "SelectStmt"
  },
  WithClause: fields("recursive location", "ctes"),
  CommonTableExpr: fields("ctename ctematerialized location", "aliascolnames ctequery"),
  ResTarget: fields("name location", "val"),
  RangeVar: { ...fields("schemaname relname inh relpersistence location"), alias: "Alias" },
  RangeSubselect: { ...fields("lateral", "subquery"), alias: "Alias" },
  RangeFunction: { ...fields("lateral ordinality is_rowsfrom", "functions"), alias: "Alias" },
  RangeTableSample: fields("location", "relation method args repeatable"),
  JoinExpr: { ...fields("jointype isNatural rtindex", "larg rarg usingClause quals"), alias: "Alias", join_using_alias: "Alias" },
  Alias: fields("aliasname", "colnames"),
  SortBy: fields("sortby_dir sortby_nulls location", "node"),
  GroupingSet: fields("kind location", "content"),
  GroupingFunc: fields("location", "args"),
  WindowDef: fields("name refname frameOptions location", "partitionClause orderClause startOffset endOffset"),
  ColumnRef: fields("location", "fields"),
  A_Star: fields(""),
  A_Const: fields("ival fval boolval sval bsval isnull location"),
  A_Expr: fields("kind location rexpr_list_start rexpr_list_end", "name lexpr rexpr"),
  A_ArrayExpr: fields("location list_start list_end", "elements"),
  A_Indirection: fields("", "arg indirection"),
  A_Indices: fields("is_slice", "lidx uidx"),
  BoolExpr: fields("boolop location", "args"),
  NullTest: fields("nulltesttype argisrow location", "arg"),
  BooleanTest: fields("booltesttype location", "arg"),
  CaseExpr: fields("location", "arg args defresult"),
  CaseWhen: fields("location", "expr result"),
  CoalesceExpr: fields("location", "args"),
  MinMaxExpr: fields("op location", "args"),
  RowExpr: fields("row_format location", "args"),
  SubLink: fields("subLinkType subLinkId location", "testexpr operName subselect"),
  TypeCast: { ...fields("location", "arg"), typeName: "TypeName" },
  TypeName: fields("typemod location", "names typmods arrayBounds"),
  CollateClause: fields("location", "arg collname"),
  FuncCall: {
    ...fields(
      "agg_within_group agg_star agg_distinct func_variadic funcformat location",
      "funcname args agg_order agg_filter"
    ),
    over: "WindowDef"
  },
  NamedArgExpr: fields("name argnumber location", "arg"),
  SQLValueFunction: fields("op typmod location"),
  List: fields("", "items"),
  String: fields("sval"),
  Integer: fields("ival")
} satisfies Record<string, Readonly<Record<string, Field>>>))

/** What a refused kind or field is called in SQL, and what to do instead. */
export const refusals: ReadonlyMap<string, readonly [thing: string, remedy: string]> = new Map<string, readonly [string, string]>([
  ["SelectStmt.intoClause", ["SELECT INTO writes a table", "leave INTO away, the rows come back as the result"]],
  ["SelectStmt.lockingClause", ["FOR UPDATE and FOR SHARE lock rows", "leave the locking clause away"]],
  ["SortBy.useOp", ["ORDER BY ... USING is not allowed", "write ASC or DESC"]],
  ["TypeName.setof", ["A cast to SETOF is not allowed", "cast to a plain type such as numeric or date"]],
  ["TypeName.pct_type", ["A cast to %TYPE is not allowed", "name the type, such as numeric or date"]],
  ["RangeVar.catalogname", ["A table of another database is not allowed", "name the table alone"]],
  ["RangeFunction.coldeflist", ["A column definition list is not allowed", "read the fields with the operators -> and ->>"]],
  ["ParamRef", ["Parameters such as $1 have no value here", "write the value into the query"]],
  ["XmlExpr", ["XML is not allowed", "select plain columns"]],
  ["XmlSerialize", ["XML is not allowed", "select plain columns"]],
  ["RangeTableFunc", ["XMLTABLE is not allowed", "select plain columns"]],
  ["JsonTable", ["JSON_TABLE is not allowed", "use jsonb_array_elements and the operators -> and ->>"]],
  ["JsonFuncExpr", ["JSON_VALUE, JSON_QUERY and JSON_EXISTS are not allowed", "use the operators -> and ->>"]],
  ["SetToDefault", ["DEFAULT has no meaning in a query", "write the value"]],
  ["CurrentOfExpr", ["CURRENT OF needs a cursor", "write a condition on columns"]]
])

/** What a statement that is no query is called: `CREATE TABLE` for `CreateTableStmt`. */
export const statementName = (kind: string): string => {
  const known: Readonly<Record<string, string>> = {
    VariableSetStmt: "SET",
    VariableShowStmt: "SHOW",
    DoStmt: "DO",
    CallStmt: "CALL",
    CreateStmt: "CREATE TABLE",
    CreateTableAsStmt: "CREATE TABLE AS",
    TransactionStmt: "Transaction control",
    RawStmt: "This"
  }
  const name = Object.hasOwn(known, kind) ? known[kind] : undefined
  return name ?? kind.replace(/Stmt$/, "").replaceAll(/([a-z])([A-Z])/g, "$1 $2").toUpperCase()
}
