-- The ledger of attempts, with what a provider says of how an answer came about, the tools that the answer called, and corrections. Runs as
-- it is in the Supabase SQL editor; applying it twice is harmless.

-- Who computed the answer, where the provider passes requests on and says to whom.
ALTER TABLE model_calls ADD COLUMN IF NOT EXISTS host text;
-- The provider's id of the model that answered, where that is not the one that was asked.
ALTER TABLE model_calls ADD COLUMN IF NOT EXISTS served_model text;
-- Why the answer ended, in the provider's own word.
ALTER TABLE model_calls ADD COLUMN IF NOT EXISTS native_finish text;
ALTER TABLE model_calls ADD COLUMN IF NOT EXISTS web_searches integer NOT NULL DEFAULT 0;
-- The names of the tools that the answer called, in its order and as often as it called them, as a JSON array; null where it called none.
ALTER TABLE model_calls ADD COLUMN IF NOT EXISTS tools jsonb;

-- Each attempt once, with all that corrects it: what it cost in the end, and where that figure is from. Each reader sees what row-level
-- security shows of `model_calls`.
CREATE OR REPLACE VIEW model_attempts WITH (security_invoker = true) AS
  SELECT c.id, c.org_id, c.run_id, c.session_id, c.agent, c.turn, c.attempt, c.provider, c.model, c.served_model, c.host,
    c.uncached_tokens + coalesce(k.uncached, 0) AS uncached_tokens,
    c.cache_read_tokens + coalesce(k.cache_read, 0) AS cache_read_tokens,
    c.cache_write_tokens + coalesce(k.cache_write, 0) AS cache_write_tokens,
    c.cache_write_hour_tokens + coalesce(k.cache_write_hour, 0) AS cache_write_hour_tokens,
    c.output_tokens + coalesce(k.output, 0) AS output_tokens,
    c.reasoning_tokens + coalesce(k.reasoning, 0) AS reasoning_tokens,
    c.web_searches + coalesce(k.searches, 0) AS web_searches,
    c.cost_usd + coalesce(k.cost, 0) AS cost_usd,
    coalesce(k.source, c.cost_source) AS cost_source,
    c.prices, c.latency_ms, c.first_token_ms, c.finish_reason, c.native_finish, c.request_id, c.error, c.tools, c.ended_at
  FROM model_calls c
  LEFT JOIN (
    SELECT org_id, corrects, sum(uncached_tokens) AS uncached, sum(cache_read_tokens) AS cache_read, sum(cache_write_tokens) AS cache_write,
      sum(cache_write_hour_tokens) AS cache_write_hour, sum(output_tokens) AS output, sum(reasoning_tokens) AS reasoning,
      sum(web_searches) AS searches, sum(cost_usd) AS cost, (array_agg(cost_source ORDER BY ended_at DESC, id DESC))[1] AS source
    FROM model_calls WHERE corrects IS NOT NULL GROUP BY org_id, corrects
  ) k ON k.org_id = c.org_id AND k.corrects = c.id
  WHERE c.corrects IS NULL;

-- A row is {append, r}, and `r` is the values of the columns of `model_calls` in their order, but the time in milliseconds since 1970. From
-- `host` on they are missing in the rows of processes of the version before.
CREATE OR REPLACE FUNCTION conductor_project_calls(p_rows jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO model_calls (id, org_id, run_id, session_id, agent, turn, attempt, provider, model, uncached_tokens, cache_read_tokens,
    cache_write_tokens, cache_write_hour_tokens, output_tokens, reasoning_tokens, cost_usd, cost_source, prices, latency_ms,
    first_token_ms, finish_reason, request_id, error, ended_at, host, served_model, native_finish, web_searches, tools)
  SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, r ->> 4, (r ->> 5)::integer, (r ->> 6)::integer, r ->> 7, r ->> 8, (r ->> 9)::integer,
    (r ->> 10)::integer, (r ->> 11)::integer, (r ->> 12)::integer, (r ->> 13)::integer, (r ->> 14)::integer, (r ->> 15)::numeric,
    r ->> 16, r ->> 17, (r ->> 18)::integer, (r ->> 19)::integer, r ->> 20, r ->> 21, r ->> 22, to_timestamp((r ->> 23)::bigint / 1000.0),
    r ->> 24, r ->> 25, r ->> 26, coalesce((r ->> 27)::integer, 0), nullif(r -> 28, 'null')
  FROM (SELECT e.x -> 'r' AS r FROM jsonb_array_elements(p_rows) AS e (x) OFFSET 0) AS e;
END
$$;

DO $$
BEGIN
  REVOKE ALL ON FUNCTION conductor_project_calls(jsonb) FROM PUBLIC, anon, authenticated;
  GRANT EXECUTE ON FUNCTION conductor_project_calls(jsonb) TO service_role;
  REVOKE ALL ON model_attempts FROM PUBLIC, anon, authenticated;
  GRANT SELECT ON model_attempts TO authenticated, service_role;
END
$$;
