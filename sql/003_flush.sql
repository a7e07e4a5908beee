-- The flush: one round trip that appends the events of many runs, with everything that follows from them, or refuses
-- them one by one. Runs as it is in the Supabase SQL editor; applying it twice is harmless.

-- Refuses to end or park a run while commands wait for it. An ask is {append, run}.
CREATE OR REPLACE FUNCTION conductor_gate_inbox(p_asks jsonb) RETURNS jsonb
LANGUAGE sql AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object('append', a.append, 'refuse', jsonb_build_object('_tag', 'CommandsWaiting'))), '[]')
  FROM jsonb_to_recordset(p_asks) AS a (append integer, run text)
  WHERE EXISTS (SELECT 1 FROM run_inbox i WHERE i.run_id = a.run AND i.consumed_seq IS NULL)
$$;

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
  v_settle record;
  v_at integer;
  v_key text;
  v_free numeric;
  v_tightest integer;
  v_granted bigint;
  v_amount numeric;
  v_scopes text[];
BEGIN
  INSERT INTO budgets (org_id, scope, limit_usd)
  SELECT a.org, a.open ->> 'scope', (a.open ->> 'limit')::numeric
  FROM jsonb_to_recordset(p_asks) AS a (org text, open jsonb)
  WHERE jsonb_typeof(a.open) = 'object'
  ORDER BY 1, 2
  ON CONFLICT (org_id, scope) DO UPDATE SET limit_usd = excluded.limit_usd, updated_at = now();

  WITH wanted AS (
    SELECT DISTINCT a.org, s.scope
    FROM jsonb_to_recordset(p_asks) AS a (org text, scopes jsonb), jsonb_array_elements_text(a.scopes) AS s (scope)
  ), locked AS MATERIALIZED (
    SELECT b.org_id, b.scope, b.limit_usd, b.spent_usd, b.reserved_usd
    FROM budgets b JOIN wanted w ON w.org = b.org_id AND w.scope = b.scope
    ORDER BY b.org_id, b.scope
    FOR NO KEY UPDATE OF b
  ), numbered AS (
    SELECT *, row_number() OVER (ORDER BY org_id, scope) AS k FROM locked
  )
  SELECT jsonb_object_agg(org_id || '/' || scope, k), array_agg(org_id ORDER BY k), array_agg(scope ORDER BY k),
    array_agg(limit_usd ORDER BY k), array_agg(spent_usd ORDER BY k), array_agg(reserved_usd ORDER BY k)
  INTO v_index, v_org, v_scope, v_limit, v_spent, v_reserved
  FROM numbered;

  IF v_index IS NULL THEN RETURN '[]'; END IF;

  FOR v_ask IN
    SELECT a.append, a.org, a.scopes, nullif(a.settle, 'null') AS settle, (a.reserve ->> 'input')::numeric AS input, (a.reserve ->> 'rate')::numeric AS rate,
      (a.reserve ->> 'max')::bigint AS most, (a.reserve ->> 'min')::bigint AS least, (a.reserve ->> 'priced')::boolean AS priced
    FROM jsonb_to_recordset(p_asks) AS a (append integer, org text, scopes text[], settle jsonb, reserve jsonb)
    ORDER BY a.append
  LOOP
    IF v_ask.settle IS NOT NULL THEN
      FOR v_settle IN SELECT * FROM jsonb_to_recordset(v_ask.settle) AS s (scopes jsonb, reserved numeric, cost numeric)
      LOOP
        FOREACH v_key IN ARRAY v_ask.scopes LOOP
          v_at := (v_index ->> (v_ask.org || '/' || v_key))::integer;
          CONTINUE WHEN v_at IS NULL;
          v_spent[v_at] := v_spent[v_at] + v_settle.cost;
          IF v_settle.scopes ? v_key THEN v_reserved[v_at] := v_reserved[v_at] - v_settle.reserved; END IF;
        END LOOP;
      END LOOP;
    END IF;

    CONTINUE WHEN v_ask.priced IS NULL;
    v_free := NULL;
    v_tightest := NULL;
    v_scopes := '{}';
    FOREACH v_key IN ARRAY v_ask.scopes LOOP
      v_at := (v_index ->> (v_ask.org || '/' || v_key))::integer;
      CONTINUE WHEN v_at IS NULL;
      v_scopes := v_scopes || v_key;
      IF v_free IS NULL OR v_limit[v_at] - v_spent[v_at] - v_reserved[v_at] < v_free THEN
        v_free := v_limit[v_at] - v_spent[v_at] - v_reserved[v_at];
        v_tightest := v_at;
      END IF;
    END LOOP;
    CONTINUE WHEN v_tightest IS NULL;

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
    FOREACH v_key IN ARRAY v_scopes LOOP
      v_at := (v_index ->> (v_ask.org || '/' || v_key))::integer;
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

-- Marks commands as consumed by the event that records them. A row is {append, id, seq}.
CREATE OR REPLACE FUNCTION conductor_project_inbox(p_rows jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE run_inbox i SET consumed_seq = r.seq
  FROM jsonb_to_recordset(p_rows) AS r (id text, seq integer)
  WHERE i.id = r.id AND i.consumed_seq IS NULL;
END
$$;

CREATE OR REPLACE FUNCTION conductor_project_model_calls(p_rows jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO model_calls
  SELECT r.id, r.org, r.run, r.session, r.agent, r.turn, r.attempt, r.provider, r.model, r.uncached, r.cache_read, r.cache_write,
    r.cache_write_hour, r.output, r.reasoning, r.cost, r.source, r.prices, r.latency_ms, r.first_token_ms, r.finish, r.request_id,
    r.error, to_timestamp(r.at / 1000.0)
  FROM jsonb_to_recordset(p_rows) AS r (id text, org text, run text, session text, agent text, turn integer, attempt integer,
    provider text, model text, uncached integer, cache_read integer, cache_write integer, cache_write_hour integer,
    output integer, reasoning integer, cost numeric, source text, prices text, latency_ms integer, first_token_ms integer,
    finish text, request_id text, error text, at bigint);
END
$$;

-- Appends. `p_appends` is [{i, run, org, epoch, seq, n, status, turns, cost, unpriced, input, output, error, open?}]; the arrays hold
-- the events; `p_gates` is [{name, asks}] and `p_rows` is [{name, rows}], each in order. Answers null when everything was
-- appended, else {fenced: [i], refused: [{append, refuse}], patched: [{append, patch}]}.
CREATE OR REPLACE FUNCTION conductor_flush(
  p_runner text, p_appends jsonb, p_append integer[], p_seq integer[], p_at bigint[], p_tag text[],
  p_payload text[], p_gates jsonb, p_rows jsonb
) RETURNS jsonb
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_fenced integer[];
  v_out integer[] := '{}';
  v_refused jsonb := '[]';
  v_patched jsonb := '[]';
  v_patch jsonb := '{}';
  v_item record;
  v_verdicts jsonb;
  v_some jsonb;
BEGIN
  IF jsonb_path_exists(p_appends, '$[*].open') THEN
    INSERT INTO organizations (id, name)
    SELECT DISTINCT a.org, a.org FROM jsonb_to_recordset(p_appends) AS a (org text, open jsonb) WHERE a.open IS NOT NULL
    ORDER BY 1 ON CONFLICT DO NOTHING;
    INSERT INTO sessions (id, org_id)
    SELECT DISTINCT a.open ->> 'session', a.org FROM jsonb_to_recordset(p_appends) AS a (org text, open jsonb)
    WHERE a.open IS NOT NULL ORDER BY 1, 2 ON CONFLICT DO NOTHING;
    INSERT INTO runs (id, org_id, session_id, agent, definition_hash, model, status, owner, epoch, seq, parent_run)
    SELECT a.run, a.org, a.open ->> 'session', a.open ->> 'agent', a.open ->> 'definition', a.open ->> 'model', 'running',
      p_runner, a.epoch, 0, a.open ->> 'parent'
    FROM jsonb_to_recordset(p_appends) AS a (run text, org text, epoch integer, open jsonb) WHERE a.open IS NOT NULL
    ORDER BY 1 ON CONFLICT (id) DO NOTHING;
  END IF;

  -- The lock comes first and the comparison after it, so that an owner who lost the run while waiting is refused.
  WITH a AS (
    SELECT * FROM jsonb_to_recordset(p_appends) AS a (i integer, run text, epoch integer, seq integer, n integer)
  ), locked AS MATERIALIZED (
    SELECT r.id, r.epoch, r.seq FROM runs r WHERE r.id IN (SELECT run FROM a) ORDER BY r.id FOR NO KEY UPDATE
  )
  SELECT array_agg(x.i) INTO v_fenced
  FROM (SELECT a.*, sum(a.n) OVER (PARTITION BY a.run ORDER BY a.i) - a.n AS ahead FROM a) x
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
  SELECT a.run, e.seq, a.epoch, a.org, e.at, e.tag,
    CASE WHEN e.tag = 'TurnStarted' AND v_patch ? a.i::text
      THEN (e.payload::jsonb || (v_patch -> a.i::text))::text ELSE e.payload END
  FROM unnest(p_append, p_seq, p_at, p_tag, p_payload) AS e (i, seq, at, tag, payload)
  JOIN jsonb_to_recordset(p_appends) AS a (i integer, run text, org text, epoch integer) ON a.i = e.i
  WHERE a.i <> ALL (v_out);

  UPDATE runs r
  SET seq = x.seq, status = x.status, owner = CASE WHEN x.status = 'running' THEN r.owner END,
    turns = r.turns + x.turns, own_cost = r.own_cost + x.cost, subtree_cost = r.subtree_cost + x.cost,
    unpriced = r.unpriced OR x.unpriced, input_tokens = r.input_tokens + x.input, output_tokens = r.output_tokens + x.output,
    error_tag = x.error, updated_at = now(),
    ended_at = CASE WHEN x.status IN ('running', 'parked') THEN NULL ELSE now() END
  FROM (
    SELECT a.run, max(a.seq + a.n - 1) AS seq, (array_agg(a.status ORDER BY a.i DESC))[1] AS status,
      (array_agg(a.error ORDER BY a.i DESC))[1] AS error, sum(a.turns) AS turns, sum(a.cost) AS cost,
      bool_or(a.unpriced) AS unpriced, sum(a.input) AS input, sum(a.output) AS output
    FROM jsonb_to_recordset(p_appends) AS a (i integer, run text, seq integer, n integer, status text, error text,
      turns integer, cost numeric, unpriced boolean, input bigint, output bigint)
    WHERE a.i <> ALL (v_out)
    GROUP BY a.run
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
  FOR f IN SELECT oid::regprocedure FROM pg_proc WHERE proname LIKE 'conductor\_%' AND pronamespace = current_schema::regnamespace LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', f);
  END LOOP;
END
$$;
