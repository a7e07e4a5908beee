-- A cheaper trail: what is hashed is put together as bytes, because text is looked through character by character to take a bracket away.
-- The rows and their hashes are those of before. Runs as it is in the Supabase SQL editor; applying it twice is harmless.

-- Appends rows to the chains of their organisations, as in 005: a row is {append, m, c, p, e}.
CREATE OR REPLACE FUNCTION conductor_project_trail(p_rows jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_orgs text[] := ARRAY(SELECT DISTINCT x -> 'm' ->> 0 FROM jsonb_array_elements(p_rows) AS e (x));
BEGIN
  -- In order, so that two flushes do not wait for each other; only an organisation's first row makes its head.
  IF (SELECT count(*) FROM (SELECT 1 FROM audit_heads WHERE org_id = ANY (v_orgs) ORDER BY org_id FOR NO KEY UPDATE) AS h)
    < cardinality(v_orgs) THEN
    INSERT INTO audit_heads (org_id, n, hash)
    SELECT o, 0, decode(repeat('00', 32), 'hex') FROM unnest(v_orgs) AS u (o) ORDER BY 1 ON CONFLICT DO NOTHING;
    PERFORM 1 FROM audit_heads WHERE org_id = ANY (v_orgs) ORDER BY org_id FOR NO KEY UPDATE;
  END IF;

  WITH given AS (
    SELECT h.n + row_number() OVER (PARTITION BY h.org_id ORDER BY g.k) AS n, h.hash AS head, h.org_id, g.m, g.c, g.e, g.p,
      -- A UUIDv7: the time, then chance; rows of one time lie together in the index.
      (lpad(to_hex((g.m ->> 1)::bigint / 1000), 12, '0') || '7' || substr(gen_random_uuid()::text, 16))::uuid AS id,
      uuid_send(gen_random_uuid()) AS salt
    FROM (
      SELECT k, x -> 'm' AS m, x -> 'm' ->> 0 AS org_id, x -> 'c' AS c, nullif(x -> 'p', 'null') AS p, nullif(x -> 'e', 'null') AS e
      FROM jsonb_array_elements(p_rows) WITH ORDINALITY AS x (x, k) OFFSET 0
    ) AS g JOIN audit_heads h ON h.org_id = g.org_id
  ), sealed AS (
    SELECT g.*, sha256(g.salt || convert_to('[' || coalesce(to_json(g.p::text)::text, 'null') || ', ', 'UTF8')
      || substr(convert_to(g.c::text, 'UTF8'), 2)) AS content_digest
    FROM given g OFFSET 0
  ), chained AS MATERIALIZED (
    SELECT s.*, conductor_audit_chain(s.head, s.n, sha256(
      convert_to('["conductor.audit.1", "' || s.id || '", ', 'UTF8') || btrim(convert_to(s.m::text, 'UTF8'), '[]')
      || convert_to(', "' || encode(s.content_digest, 'hex') || '"]', 'UTF8')
    )) OVER (PARTITION BY s.org_id ORDER BY s.n) AS hash
    FROM sealed s
  ), written AS (
    INSERT INTO audit_logs (id, org_id, n, "timestamp", event, action, tool_name, principal, agent, session_id, run_id, seq, call_id,
      source_project, success, duration_ms, cost_usd, target_entity, input_params, output_summary, error_message, salt,
      content_digest, hash)
    SELECT id, org_id, n, to_timestamp((m ->> 1)::bigint / 1000000.0), m ->> 2, m ->> 3, m ->> 4, m ->> 5, m ->> 6, m ->> 7, m ->> 8,
      (m ->> 9)::integer, m ->> 10, m ->> 11, (m ->> 12)::boolean, (m ->> 13)::integer, (m ->> 14)::numeric, c ->> 1, p, c ->> 0, c ->> 2,
      salt, content_digest, hash
    FROM chained
  ), executed AS (
    INSERT INTO tool_executions (id, org_id, audit_log_id, session_id, run_id, call_id, tool_name, input_json, output_json, started_at,
      completed_at, retry_count, tokens_used, api_calls_made)
    SELECT id, org_id, id, m ->> 7, m ->> 8, m ->> 10, m ->> 4,
      jsonb_build_object('run', m -> 8, 'turn', e -> 0, 'call', m -> 10),
      CASE WHEN e ->> 2 IS NOT NULL THEN jsonb_build_object('run', m -> 8, 'seq', m -> 9) END,
      to_timestamp((e ->> 1)::bigint / 1000.0), to_timestamp((e ->> 2)::bigint / 1000.0), coalesce((e ->> 3)::integer, 0), 0, 1
    FROM chained WHERE e IS NOT NULL
  )
  UPDATE audit_heads h SET n = c.n, hash = c.hash
  FROM (SELECT DISTINCT ON (org_id) org_id, n, hash FROM chained ORDER BY org_id, n DESC) c
  WHERE h.org_id = c.org_id;
END
$$;
