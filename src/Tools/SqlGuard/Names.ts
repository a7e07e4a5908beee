const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/))

/**
 * The functions that a query may call: those that only compute from their arguments. Left out on purpose are functions
 * that run SQL in a text (`query_to_xml`, `ts_stat`), that read or change settings, files, locks, sequences or other
 * databases, that wait, and that make a large value out of a small query (`repeat`, `lpad`, `format`).
 */
export const functions = words(`
  any_value array_agg avg bit_and bit_or bool_and bool_or corr count covar_pop covar_samp every json_agg json_object_agg
  jsonb_agg jsonb_object_agg max min mode percentile_cont percentile_disc regr_avgx regr_avgy regr_count regr_intercept
  regr_r2 regr_slope stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance
  cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
  ascii bit_length btrim char_length character_length chr concat concat_ws initcap is_normalized left length like_escape
  lower ltrim md5 normalize octet_length overlay position quote_ident quote_literal regexp_count regexp_instr regexp_like
  regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr replace reverse
  right rtrim similar_to_escape split_part starts_with string_to_array string_to_table strpos substr substring to_hex
  translate upper
  abs acos acosd asin asind atan atan2 atan2d atand cbrt ceil ceiling cos cosd cot degrees div exp floor gcd lcm ln log
  log10 mod pi power radians random round scale sign sin sind sqrt tan tand trim_scale trunc width_bucket
  age clock_timestamp date date_bin date_part date_trunc extract isfinite justify_days justify_hours justify_interval
  make_date make_interval make_time make_timestamp make_timestamptz now overlaps statement_timestamp timezone to_char
  to_date to_number to_timestamp transaction_timestamp
  array_append array_cat array_length array_lower array_ndims array_position array_positions array_prepend array_remove
  array_replace array_to_string array_upper cardinality generate_series unnest
  json_array_elements json_array_elements_text json_array_length json_build_array json_build_object json_each
  json_each_text json_extract_path json_extract_path_text json_object_keys json_strip_nulls json_typeof
  jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each
  jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_object_keys jsonb_path_exists jsonb_path_match
  jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_strip_nulls jsonb_typeof row_to_json
  to_json to_jsonb num_nonnulls num_nulls
`.trim())

/** The types that a query may cast to, by the names that the parser has for them; no `reg*`, which look objects up. */
export const types = words(`
  bool boolean bpchar char date daterange decimal float4 float8 int int2 int4 int4range int8 int8range integer interval
  json jsonb jsonpath numeric numrange point smallint bigint real text time timestamp timestamptz timetz tsrange
  tstzrange uuid varchar
`.trim())

/** The operators that a query may use, and the words that the parser has in their place. */
export const operators: ReadonlySet<string> = new Set([
  ...words("= <> < > <= >= + - * / % ^ |/ ||/ @ & | # ~ << >> || ^@"),
  ...words("~~ !~~ ~~* !~~* !~ ~* !~* -> ->> #> #>> @> <@ ? ?| ?& @? @@ && -|- &< &> <->"),
  "BETWEEN",
  "NOT BETWEEN",
  "BETWEEN SYMMETRIC",
  "NOT BETWEEN SYMMETRIC"
])

/** Values without parentheses that say nothing about the connection. */
export const valueFunctions: ReadonlySet<unknown> = new Set([
  "SVFOP_CURRENT_DATE",
  "SVFOP_CURRENT_TIME",
  "SVFOP_CURRENT_TIME_N",
  "SVFOP_CURRENT_TIMESTAMP",
  "SVFOP_CURRENT_TIMESTAMP_N",
  "SVFOP_LOCALTIME",
  "SVFOP_LOCALTIME_N",
  "SVFOP_LOCALTIMESTAMP",
  "SVFOP_LOCALTIMESTAMP_N"
])
