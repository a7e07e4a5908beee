-- The audit trail's writers: the projection that the flush calls, and the erasure of content. Runs as it is in the Supabase SQL editor;
-- applying it twice is harmless. The bytes that are hashed are specified in src/AuditLog/Chain.ts.

-- The hash of a row: sha256(hash before it || number, 8 bytes || digest of the row). The first row of a flush follows the head.
CREATE OR REPLACE FUNCTION conductor_audit_link(p_before bytea, p_head bytea, p_n bigint, p_digest bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN sha256(coalesce(p_before, p_head) || int8send(p_n) || p_digest);
END
$$;

-- As a window aggregate it gives each row the hash that follows from all rows before it.
CREATE OR REPLACE AGGREGATE conductor_audit_chain(bytea, bigint, bytea) (SFUNC = conductor_audit_link, STYPE = bytea);

-- Appends rows to the chains of their organisations. A row is {append, org_id, at, event, action, tool_name, principal, success, agent?,
-- session_id?, run_id?, seq?, call_id?, source_project?, duration_ms?, cost_usd?, target_entity?, input_params?, output_summary?,
-- error_message?, execution?: {input, output?, started, completed?}}; times are milliseconds since 1970.
CREATE OR REPLACE FUNCTION conductor_project_audit(p_rows jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit_heads (org_id, n, hash)
  SELECT DISTINCT r.org_id, 0, decode(repeat('00', 32), 'hex') FROM jsonb_to_recordset(p_rows) AS r (org_id text)
  ORDER BY 1 ON CONFLICT DO NOTHING;
  PERFORM 1 FROM audit_heads h
  WHERE h.org_id IN (SELECT r.org_id FROM jsonb_to_recordset(p_rows) AS r (org_id text))
  ORDER BY h.org_id FOR NO KEY UPDATE;

  WITH given AS MATERIALIZED (
    SELECT h.n + row_number() OVER (PARTITION BY h.org_id ORDER BY r.k) AS n, h.hash AS head, r.*,
      -- A UUIDv7: the time, then chance; rows of one time lie together in the index.
      (lpad(to_hex(r.at), 12, '0') || '7' || substr(gen_random_uuid()::text, 16))::uuid AS id,
      uuid_send(gen_random_uuid()) AS salt
    FROM ROWS FROM (jsonb_to_recordset(p_rows) AS (org_id text, at bigint, event text, action text, tool_name text, principal text,
        success boolean, agent text, session_id text, run_id text, seq integer, call_id text, source_project text, duration_ms integer,
        cost_usd numeric(24, 12), target_entity text, input_params jsonb, output_summary text, error_message text, execution jsonb)
      ) WITH ORDINALITY AS r (org_id, at, event, action, tool_name, principal, success, agent, session_id, run_id, seq, call_id,
        source_project, duration_ms, cost_usd, target_entity, input_params, output_summary, error_message, execution, k)
    JOIN audit_heads h ON h.org_id = r.org_id
  ), sealed AS MATERIALIZED (
    SELECT g.*, sha256(g.salt || convert_to(json_build_array(
      g.input_params::text, g.output_summary, g.target_entity, g.error_message)::text, 'UTF8')) AS content_digest
    FROM given g
  ), chained AS MATERIALIZED (
    SELECT s.*, conductor_audit_chain(s.head, s.n, sha256(convert_to(json_build_array(
      'conductor.audit.1', s.id::text, s.org_id, s.at * 1000, s.event, s.action, s.tool_name, s.principal, s.agent, s.session_id, s.run_id,
      s.seq, s.call_id, s.source_project, s.success, s.duration_ms, trim_scale(s.cost_usd)::text, encode(s.content_digest, 'hex')
    )::text, 'UTF8'))) OVER (PARTITION BY s.org_id ORDER BY s.n) AS hash
    FROM sealed s
  ), written AS (
    INSERT INTO audit_logs (id, org_id, n, "timestamp", event, action, tool_name, principal, agent, session_id, run_id, seq, call_id,
      source_project, success, duration_ms, cost_usd, target_entity, input_params, output_summary, error_message, salt,
      content_digest, hash)
    SELECT id, org_id, n, to_timestamp(at / 1000.0), event, action, tool_name, principal, agent, session_id, run_id, seq, call_id,
      source_project, success, duration_ms, cost_usd, target_entity, input_params, output_summary, error_message, salt,
      content_digest, hash
    FROM chained
  ), executed AS (
    INSERT INTO tool_executions (org_id, audit_log_id, session_id, run_id, call_id, tool_name, input_json, output_json, started_at,
      completed_at, retry_count, tokens_used, api_calls_made)
    SELECT org_id, id, session_id, run_id, call_id, tool_name, execution -> 'input', execution -> 'output',
      to_timestamp((execution ->> 'started')::bigint / 1000.0), to_timestamp((execution ->> 'completed')::bigint / 1000.0), 0, 0, 1
    FROM chained WHERE execution IS NOT NULL
  )
  UPDATE audit_heads h SET n = c.n, hash = c.hash
  FROM (SELECT DISTINCT ON (org_id) org_id, n, hash FROM chained ORDER BY org_id, n DESC) c
  WHERE h.org_id = c.org_id;
END
$$;

-- Empties the content of the rows of a run, about a target, or of one number, and appends a row that says which were emptied, by number.
-- The chain still verifies. Answers how many rows were emptied; rows that were before, and rows about erasures, stay as they are.
-- It is the only way to change a row, and for service_role alone, which has no other right to.
CREATE OR REPLACE FUNCTION audit_erase(
  p_org text, p_by text, p_run text DEFAULT NULL, p_target text DEFAULT NULL, p_n bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  v_at timestamptz := date_trunc('milliseconds', clock_timestamp());
  v_count bigint;
  v_ranges jsonb;
BEGIN
  IF num_nonnulls(p_run, p_target, p_n) <> 1 THEN
    RAISE EXCEPTION 'audit_erase takes one of a run, a target or a number' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM 1 FROM audit_heads WHERE org_id = p_org FOR NO KEY UPDATE;
  PERFORM set_config('conductor.audit_erase', 'on', true);
  WITH emptied AS (
    UPDATE audit_logs
    SET input_params = NULL, output_summary = NULL, target_entity = NULL, error_message = NULL, salt = NULL, erased_at = v_at
    WHERE org_id = p_org AND erased_at IS NULL AND action <> 'erase' AND (run_id = p_run OR target_entity = p_target OR n = p_n)
    RETURNING n
  ), islands AS (
    SELECT n, n - row_number() OVER (ORDER BY n) AS island FROM emptied
  ), ranges AS (
    SELECT min(n) AS first, max(n) AS last, count(*) AS rows FROM islands GROUP BY island
  )
  SELECT coalesce(sum(rows), 0), coalesce(jsonb_agg(jsonb_build_array(first, last) ORDER BY first), '[]')
  INTO v_count, v_ranges FROM ranges;
  PERFORM set_config('conductor.audit_erase', 'off', true);
  PERFORM conductor_project_audit(jsonb_build_array(jsonb_build_object(
    'org_id', p_org, 'at', (extract(epoch FROM v_at) * 1000)::bigint, 'event', 'ContentErased', 'action', 'erase',
    'tool_name', 'audit_erase', 'principal', p_by, 'success', true, 'run_id', p_run,
    'input_params', jsonb_build_object('ranges', v_ranges))));
  RETURN v_count;
END
$$;

DO $$
DECLARE
  f regprocedure;
BEGIN
  -- It runs with the rights of the owner, so that nobody may put tables of his own before these.
  EXECUTE format('ALTER FUNCTION audit_erase(text, text, text, text, bigint) SET search_path = %I, pg_temp', current_schema);
  FOR f IN SELECT oid::regprocedure FROM pg_proc
    WHERE (proname LIKE 'conductor\_audit\_%' OR proname IN ('conductor_project_audit', 'audit_erase', 'audit_logs_refuse'))
      AND pronamespace = current_schema::regnamespace
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', f);
  END LOOP;
END
$$;
