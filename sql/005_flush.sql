-- A cheaper flush: what it is given is read once, budgets are settled and reserved with less work for each append, and the audit trail
-- keeps the indexes that are asked for. Runs as it is in the Supabase SQL editor; applying it twice is harmless.

-- Why a parked run waits; null unless it is parked.
ALTER TABLE runs ADD COLUMN IF NOT EXISTS parked_reason text;

-- Every index is written for every row. The trail is read by number within an organisation, by run, by session and by target, and its
-- failures by time; a tool is looked for among those. Rows are added in the order of time, so that a stretch of it is found by blocks.
DROP INDEX IF EXISTS audit_logs_tool_name;
DROP INDEX IF EXISTS audit_logs_timestamp;
CREATE INDEX IF NOT EXISTS audit_logs_time ON audit_logs USING brin ("timestamp");

-- An execution is written beside its audit row, whose id was made in the same statement: a foreign key would check row by row what is
-- known. Audit rows stay, but where an owner takes them away all the same, their executions go too.
ALTER TABLE tool_executions DROP CONSTRAINT IF EXISTS tool_executions_audit_log_id_fkey;
CREATE OR REPLACE FUNCTION conductor_forget_executions() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM tool_executions e USING gone g WHERE e.audit_log_id = g.id;
  RETURN NULL;
END
$$;
-- One index for an organisation's executions and for those of a run in it, instead of two.
CREATE INDEX IF NOT EXISTS tool_executions_run ON tool_executions (org_id, run_id, call_id);
DROP INDEX IF EXISTS tool_executions_org_id;
DROP INDEX IF EXISTS tool_executions_run_id;
DROP TRIGGER IF EXISTS conductor_forget_executions ON audit_logs;
CREATE TRIGGER conductor_forget_executions AFTER DELETE ON audit_logs REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION conductor_forget_executions();

-- Opens, settles and reserves budgets, in the order of the appends, under lock. An ask is
-- {append, org, scopes, open: {scope, limit}?, settle: [{scopes, reserved, cost}]?, reserve: {input, rate, max, min, priced}?}.
CREATE OR REPLACE FUNCTION conductor_gate_budget(p_asks jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
  v_index jsonb;
  v_org text[];
  v_scope text[];
  v_limit numeric[];
  v_spent numeric[];
  v_reserved numeric[];
  v_verdicts jsonb[] := '{}';
  v_ask record;
  v_settle jsonb;
  v_cost numeric;
  v_places integer[];
  v_at integer;
  v_key text;
  v_free numeric;
  v_tightest integer;
  v_granted bigint;
  v_amount numeric;
  v_scopes text[];
BEGIN
  IF p_asks @? '$[*].open.scope' THEN
    INSERT INTO budgets (org_id, scope, limit_usd)
    SELECT a.org, a.open ->> 'scope', (a.open ->> 'limit')::numeric
    FROM jsonb_to_recordset(p_asks) AS a (org text, open jsonb)
    WHERE jsonb_typeof(a.open) = 'object'
    ORDER BY 1, 2
    ON CONFLICT (org_id, scope) DO UPDATE SET limit_usd = excluded.limit_usd, updated_at = now();
  END IF;

  -- Each budget is looked for by its key, in order: a join of both sides may read the budgets of all runs there ever were.
  WITH wanted AS MATERIALIZED (
    SELECT DISTINCT a.org, s.scope
    FROM (SELECT DISTINCT a.org, a.scopes FROM jsonb_to_recordset(p_asks) AS a (org text, scopes jsonb)) AS a,
      jsonb_array_elements_text(a.scopes) AS s (scope)
    ORDER BY 1, 2
  ), locked AS MATERIALIZED (
    SELECT b.*, row_number() OVER () AS k
    FROM wanted w CROSS JOIN LATERAL (
      SELECT b.org_id, b.scope, b.limit_usd, b.spent_usd, b.reserved_usd FROM budgets b
      WHERE b.org_id = w.org AND b.scope = w.scope OFFSET 0 FOR NO KEY UPDATE
    ) b
  )
  SELECT jsonb_object_agg(org_id || '/' || scope, k), array_agg(org_id ORDER BY k), array_agg(scope ORDER BY k),
    array_agg(limit_usd ORDER BY k), array_agg(spent_usd ORDER BY k), array_agg(reserved_usd ORDER BY k)
  INTO v_index, v_org, v_scope, v_limit, v_spent, v_reserved
  FROM locked;
  IF v_index IS NULL THEN RETURN '[]'; END IF;

  FOR v_ask IN
    SELECT a.append, a.org, a.scopes, a.settle, CASE jsonb_typeof(a.settle) WHEN 'array' THEN jsonb_array_length(a.settle) ELSE 0 END AS ended,
      (a.reserve ->> 'input')::numeric AS input, (a.reserve ->> 'rate')::numeric AS rate, (a.reserve ->> 'max')::bigint AS most,
      (a.reserve ->> 'min')::bigint AS least, (a.reserve ->> 'priced')::boolean AS priced
    FROM jsonb_to_recordset(p_asks) AS a (append integer, org text, scopes text[], settle jsonb, reserve jsonb)
    ORDER BY a.append
  LOOP
    v_places := '{}';
    FOREACH v_key IN ARRAY v_ask.scopes LOOP
      v_at := (v_index ->> (v_ask.org || '/' || v_key))::integer;
      IF v_at IS NOT NULL THEN v_places := v_places || v_at; END IF;
    END LOOP;
    CONTINUE WHEN v_places = '{}';

    FOR i IN 0 .. v_ask.ended - 1 LOOP
      v_settle := v_ask.settle -> i;
      v_cost := (v_settle ->> 'cost')::numeric;
      FOREACH v_at IN ARRAY v_places LOOP
        v_spent[v_at] := v_spent[v_at] + v_cost;
        IF v_settle -> 'scopes' ? v_scope[v_at] THEN v_reserved[v_at] := v_reserved[v_at] - (v_settle ->> 'reserved')::numeric; END IF;
      END LOOP;
    END LOOP;

    CONTINUE WHEN v_ask.priced IS NULL;
    v_free := NULL;
    v_scopes := '{}';
    FOREACH v_at IN ARRAY v_places LOOP
      v_scopes := v_scopes || v_scope[v_at];
      IF v_free IS NULL OR v_limit[v_at] - v_spent[v_at] - v_reserved[v_at] < v_free THEN
        v_free := v_limit[v_at] - v_spent[v_at] - v_reserved[v_at];
        v_tightest := v_at;
      END IF;
    END LOOP;

    IF NOT v_ask.priced THEN
      v_verdicts := array_append(v_verdicts, jsonb_build_object('append', v_ask.append, 'refuse', jsonb_build_object('_tag', 'UnpricedModel')));
      CONTINUE;
    END IF;
    -- As much output as the tightest scope still pays for, after the input.
    v_granted := v_ask.most;
    IF v_ask.rate > 0 THEN
      v_granted := least(v_granted, floor((v_free - v_ask.input) * 1000000 / v_ask.rate));
    ELSIF v_free < v_ask.input THEN
      v_granted := -1;
    END IF;
    IF v_granted < v_ask.least THEN
      v_verdicts := array_append(v_verdicts, jsonb_build_object('append', v_ask.append, 'refuse', jsonb_build_object(
        '_tag', 'BudgetExceeded', 'scope', v_scope[v_tightest], 'limit', trim_scale(v_limit[v_tightest])::text,
        'spent', trim_scale(v_spent[v_tightest])::text, 'reserved', trim_scale(v_reserved[v_tightest])::text,
        'asked', trim_scale(v_ask.input
          + ceil(v_ask.least * v_ask.rate * 1000000) / 1000000000000)::text)));
      CONTINUE;
    END IF;
    v_amount := v_ask.input
      + ceil(v_granted * v_ask.rate * 1000000) / 1000000000000;
    FOREACH v_at IN ARRAY v_places LOOP
      v_reserved[v_at] := v_reserved[v_at] + v_amount;
    END LOOP;
    v_verdicts := array_append(v_verdicts, jsonb_build_object('append', v_ask.append, 'patch', jsonb_build_object(
      'maxOutput', v_granted, 'reserved', trim_scale(v_amount)::text, 'scopes', to_jsonb(v_scopes))));
  END LOOP;

  UPDATE budgets b
  SET spent_usd = n.spent, reserved_usd = n.reserved, updated_at = now()
  FROM unnest(v_org, v_scope, v_spent, v_reserved) AS n (org_id, scope, spent, reserved)
  WHERE b.org_id = n.org_id AND b.scope = n.scope AND (b.spent_usd, b.reserved_usd) IS DISTINCT FROM (n.spent, n.reserved);
  RETURN to_jsonb(v_verdicts);
END
$$;

-- The ledger of attempts. A row is {append, r}, and `r` is the values of the columns of `model_calls` in their order, but the time in
-- milliseconds since 1970.
CREATE OR REPLACE FUNCTION conductor_project_calls(p_rows jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO model_calls (id, org_id, run_id, session_id, agent, turn, attempt, provider, model, uncached_tokens, cache_read_tokens,
    cache_write_tokens, cache_write_hour_tokens, output_tokens, reasoning_tokens, cost_usd, cost_source, prices, latency_ms,
    first_token_ms, finish_reason, request_id, error, ended_at)
  SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, r ->> 4, (r ->> 5)::integer, (r ->> 6)::integer, r ->> 7, r ->> 8, (r ->> 9)::integer,
    (r ->> 10)::integer, (r ->> 11)::integer, (r ->> 12)::integer, (r ->> 13)::integer, (r ->> 14)::integer, (r ->> 15)::numeric,
    r ->> 16, r ->> 17, (r ->> 18)::integer, (r ->> 19)::integer, r ->> 20, r ->> 21, r ->> 22, to_timestamp((r ->> 23)::bigint / 1000.0)
  FROM (SELECT e.x -> 'r' AS r FROM jsonb_array_elements(p_rows) AS e (x) OFFSET 0) AS e;
END
$$;

-- Appends rows to the chains of their organisations. A row is {append, m, c, p, e}: its metadata m as it is hashed, [org, microseconds since
-- 1970, event, action, tool, principal, agent, session, run, seq, call, project, success, duration in ms, cost without trailing zeros],
-- c = [output, target, error], the parameters p, and the execution e = [turn, started, completed, retries] or null, in ms since 1970.
-- A jsonb array of scalars prints as the canonical form wants it, so that what is hashed is printed once and not column by column.
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
    SELECT g.*, sha256(g.salt || convert_to(
      '[' || coalesce(to_json(g.p::text)::text, 'null') || ', ' || substr(g.c::text, 2), 'UTF8')) AS content_digest
    FROM given g OFFSET 0
  ), chained AS MATERIALIZED (
    SELECT s.*, conductor_audit_chain(s.head, s.n, sha256(convert_to(
      '["conductor.audit.1", "' || s.id || '", ' || substr(left(s.m::text, -1), 2) || ', "' || encode(s.content_digest, 'hex') || '"]', 'UTF8'
    ))) OVER (PARTITION BY s.org_id ORDER BY s.n) AS hash
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

-- Appends. Of each append, in order and counted from 0: its run, organisation, epoch, first sequence number, number of events, the status
-- after it with the error or what the run is parked for, and what its attempts add up to; `p_open` is [{run, org, epoch, session, agent,
-- definition, model, parent?}] or null. Then the events, each with the number of its append. `p_gates` is [{name, asks}] and `p_rows` is
-- [{name, rows}], each in order. Answers null when everything was appended, else
-- {fenced: [i], refused: [{append, refuse}], patched: [{append, patch}]}. The function of 003 is for processes of the version before.
CREATE OR REPLACE FUNCTION conductor_flush(
  p_runner text, p_run text[], p_org text[], p_epoch integer[], p_first integer[], p_n integer[], p_status text[], p_error text[],
  p_parked text[], p_turns integer[], p_cost text[], p_unpriced boolean[], p_input bigint[], p_output bigint[], p_open jsonb,
  p_append integer[], p_seq integer[], p_at bigint[], p_tag text[], p_payload text[], p_gates jsonb, p_rows jsonb
) RETURNS jsonb
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  -- Element by element they are looked at where plpgsql keeps them taken apart.
  v_run text[] := p_run;
  v_org text[] := p_org;
  v_fenced integer[];
  v_out integer[] := '{}';
  v_refused jsonb := '[]';
  v_patched jsonb := '[]';
  v_patch jsonb := '{}';
  v_item record;
  v_verdicts jsonb;
  v_some jsonb;
BEGIN
  IF p_open IS NOT NULL THEN
    INSERT INTO organizations (id, name)
    SELECT DISTINCT o.org, o.org FROM jsonb_to_recordset(p_open) AS o (org text) ORDER BY 1 ON CONFLICT DO NOTHING;
    INSERT INTO sessions (id, org_id)
    SELECT DISTINCT o.session, o.org FROM jsonb_to_recordset(p_open) AS o (org text, session text) ORDER BY 1, 2 ON CONFLICT DO NOTHING;
    INSERT INTO runs (id, org_id, session_id, agent, definition_hash, model, status, owner, epoch, seq, parent_run)
    SELECT o.run, o.org, o.session, o.agent, o.definition, o.model, 'running', p_runner, o.epoch, 0, o.parent
    FROM jsonb_to_recordset(p_open) AS o (run text, org text, epoch integer, session text, agent text, definition text, model text,
      parent text)
    ORDER BY 1 ON CONFLICT (id) DO NOTHING;
  END IF;

  -- The lock comes first and the comparison after it, so that an owner who lost the run while waiting is refused.
  WITH locked AS MATERIALIZED (
    SELECT r.id, r.epoch, r.seq FROM runs r WHERE r.id = ANY (p_run) ORDER BY r.id FOR NO KEY UPDATE
  )
  SELECT array_agg(x.k - 1) INTO v_fenced
  FROM (
    SELECT a.*, sum(a.n) OVER (PARTITION BY a.run ORDER BY a.k) - a.n AS ahead
    FROM unnest(p_run, p_epoch, p_first, p_n) WITH ORDINALITY AS a (run, epoch, seq, n, k)
  ) x
  LEFT JOIN locked l ON l.id = x.run
  WHERE l.id IS NULL OR l.epoch <> x.epoch OR l.seq + x.ahead + 1 <> x.seq;
  v_out := coalesce(v_fenced, '{}');

  FOR v_item IN SELECT * FROM jsonb_to_recordset(p_gates) AS g (name text, asks jsonb) LOOP
    v_some := v_item.asks;
    IF cardinality(v_out) > 0 THEN
      SELECT coalesce(jsonb_agg(x ORDER BY (x ->> 'append')::integer), '[]') INTO v_some
      FROM jsonb_array_elements(v_item.asks) AS e (x) WHERE (x ->> 'append')::integer <> ALL (v_out);
    END IF;
    CONTINUE WHEN v_some = '[]';
    EXECUTE format('SELECT %I($1)', 'conductor_gate_' || v_item.name) INTO v_verdicts USING v_some;
    CONTINUE WHEN v_verdicts = '[]';
    SELECT v_refused || coalesce(jsonb_agg(x) FILTER (WHERE x ? 'refuse'), '[]'),
      v_patched || coalesce(jsonb_agg(x) FILTER (WHERE x ? 'patch'), '[]'),
      v_patch || coalesce(jsonb_object_agg(x ->> 'append', x -> 'patch') FILTER (WHERE x ? 'patch'), '{}'),
      v_out || coalesce(array_agg((x ->> 'append')::integer) FILTER (WHERE x ? 'refuse'), '{}')
    INTO v_refused, v_patched, v_patch, v_out
    FROM jsonb_array_elements(v_verdicts) AS e (x);
  END LOOP;

  INSERT INTO run_events (run_id, seq, epoch, org_id, at, tag, payload)
  SELECT v_run[e.i + 1], e.seq, p_epoch[e.i + 1], v_org[e.i + 1], e.at, e.tag,
    -- What is granted stands at the end of the event, from `maxOutput` on.
    CASE WHEN e.tag = 'TurnStarted' AND v_patch ? e.i::text
      THEN left(e.payload, strpos(e.payload, ',"maxOutput":')) || substr((v_patch -> e.i::text)::text, 2) ELSE e.payload END
  FROM unnest(p_append, p_seq, p_at, p_tag, p_payload) AS e (i, seq, at, tag, payload)
  WHERE e.i <> ALL (v_out);

  UPDATE runs r
  SET seq = x.seq, status = x.status, owner = CASE WHEN x.status = 'running' THEN r.owner END,
    turns = r.turns + x.turns, own_cost = r.own_cost + x.cost, subtree_cost = r.subtree_cost + x.cost,
    unpriced = r.unpriced OR x.unpriced, input_tokens = r.input_tokens + x.input, output_tokens = r.output_tokens + x.output,
    error_tag = x.error, parked_reason = x.parked, updated_at = now(),
    ended_at = CASE WHEN x.status IN ('running', 'parked') THEN NULL ELSE now() END
  FROM (
    SELECT DISTINCT ON (a.run) a.run, a.seq + a.n - 1 AS seq, a.status, a.error, a.parked, sum(a.turns) OVER w AS turns,
      sum(a.cost::numeric) OVER w AS cost, bool_or(a.unpriced) OVER w AS unpriced, sum(a.input) OVER w AS input, sum(a.output) OVER w AS output
    FROM unnest(p_run, p_first, p_n, p_status, p_error, p_parked, p_turns, p_cost, p_unpriced, p_input, p_output)
      WITH ORDINALITY AS a (run, seq, n, status, error, parked, turns, cost, unpriced, input, output, k)
    WHERE a.k - 1 <> ALL (v_out)
    WINDOW w AS (PARTITION BY a.run)
    ORDER BY a.run, a.k DESC
  ) x
  WHERE r.id = x.run;

  FOR v_item IN SELECT * FROM jsonb_to_recordset(p_rows) AS p (name text, rows jsonb) LOOP
    v_some := v_item.rows;
    IF cardinality(v_out) > 0 THEN
      SELECT coalesce(jsonb_agg(x ORDER BY k), '[]') INTO v_some
      FROM jsonb_array_elements(v_item.rows) WITH ORDINALITY AS e (x, k) WHERE (x ->> 'append')::integer <> ALL (v_out);
    END IF;
    CONTINUE WHEN v_some = '[]';
    EXECUTE format('SELECT %I($1)', 'conductor_project_' || v_item.name) USING v_some;
  END LOOP;

  IF cardinality(v_out) = 0 AND v_patched = '[]' THEN RETURN NULL; END IF;
  RETURN jsonb_build_object('fenced', to_jsonb(coalesce(v_fenced, '{}')), 'refused', v_refused, 'patched', v_patched);
END
$$;

DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT oid::regprocedure FROM pg_proc
    WHERE proname IN ('conductor_gate_budget', 'conductor_project_calls', 'conductor_project_trail',
      'conductor_flush', 'conductor_forget_executions') AND pronamespace = current_schema::regnamespace
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', f);
  END LOOP;
END
$$;
