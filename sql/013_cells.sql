-- A cheaper flush: what gates and projections are given comes as cells instead of JSON, a run is at most once in a batch, and a gate keeps
-- silent where an attempt is granted what its event says already. Runs as it is in the Supabase SQL editor; applying it twice is harmless.
-- The functions of the same names that take JSON are for processes of the version before.
--
-- Cells are rows one after the other, each as wide as its function says: column c of the row that begins after i is p_cells[i + c], and the
-- first is the number of its append. conductor_flush sees to it that plans are generic: then plpgsql keeps an array taken apart and a
-- cell is found at once, where a plan for its very values, or the query of a loop, would look through the whole array for each. A row or
-- two may be written without it.

-- Refuses appends that end or park a run whose commands wait. A row is append, run.
CREATE OR REPLACE FUNCTION conductor_gate_inbox(p_cells text[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(jsonb_build_object('append', p_cells[i + 1]::integer, 'refuse', jsonb_build_object('_tag', 'CommandsWaiting'))), '[]')
    FROM generate_series(0, cardinality(p_cells) - 1, 2) AS g (i)
    WHERE EXISTS (SELECT 1 FROM run_inbox w WHERE w.run_id = p_cells[i + 2] AND w.consumed_seq IS NULL)
  );
END
$$;

-- Opens, settles and reserves budgets, in the order of the appends, under lock. An ask has one row for each scope that its run's money comes
-- from, the run's own last: append, number of the ask's rows, organisation, scope, the scope's new limit, what the attempts cost that have
-- ended, and what was reserved for them in the scope; of the attempt that begins, what its event says is reserved in the scope, and input,
-- rate, most and least output: without a price, input and rate are null, and all are where none begins. What is the same for all scopes
-- stands in the first row alone: the number of rows, the cost, and input, rate, most and least output.
CREATE OR REPLACE FUNCTION conductor_gate_budgets(p_cells text[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
  v_names text[] := ARRAY(SELECT DISTINCT p_cells[i + 3] FROM generate_series(0, cardinality(p_cells) - 1, 12) AS g (i) ORDER BY 1);
  v_name text;
  v_scopes text[];
  v_found record;
  v_index jsonb;
  v_org text[];
  v_scope text[];
  v_limit numeric[];
  v_spent numeric[];
  v_reserved numeric[];
  v_excess numeric[];
  v_mark numeric[];
  v_now timestamptz;
  v_until timestamptz;
  v_verdicts jsonb[] := '{}';
  v_warned integer[] := '{}';
  v_patch jsonb;
  v_place integer[];
  v_last integer;
  v_at integer;
  v_most numeric;
  v_input numeric;
  v_rate numeric;
  v_cost numeric;
  v_back numeric;
  v_left numeric;
  v_free numeric;
  v_tightest integer;
  v_granted numeric;
  v_amount numeric;
  v_as_said boolean;
BEGIN
  INSERT INTO budgets (org_id, scope, limit_usd)
  SELECT p_cells[i + 3], p_cells[i + 4], p_cells[i + 5]::numeric
  FROM generate_series(0, cardinality(p_cells) - 1, 12) AS g (i)
  WHERE p_cells[i + 5] IS NOT NULL
  ORDER BY 1, 2
  ON CONFLICT (org_id, scope) DO UPDATE SET limit_usd = excluded.limit_usd, updated_at = now();

  -- All locks first, in one order. A period that is over by then gives way to the next, and then all is read again.
  LOOP
    v_index := '{}';
    v_org := '{}';
    v_scope := '{}';
    v_limit := '{}';
    v_spent := '{}';
    v_reserved := '{}';
    v_excess := '{}';
    v_mark := '{}';
    v_until := NULL;
    FOREACH v_name IN ARRAY v_names LOOP
      SELECT array_agg(p_cells[i + 4]) INTO v_scopes
      FROM generate_series(0, cardinality(p_cells) - 1, 12) AS g (i) WHERE p_cells[i + 3] = v_name;
      SELECT jsonb_object_agg(b.scope, b.k + cardinality(v_scope)) AS keys, array_agg(b.org_id) AS org, array_agg(b.scope) AS scope,
        array_agg(CASE WHEN NOT b.removed THEN b.limit_usd END) AS limits, array_agg(b.spent_usd) AS spent,
        array_agg(b.reserved_usd) AS reserved, array_agg(b.excess_usd) AS excess,
        array_agg(CASE WHEN NOT b.warned AND b.limit_usd > 0 THEN b.limit_usd * 0.8 END) AS mark, min(b.until) AS until
      INTO v_found
      FROM (
        SELECT l.*, row_number() OVER () AS k FROM (
          SELECT * FROM budgets b WHERE b.org_id = v_name AND b.scope = ANY (v_scopes) ORDER BY b.scope FOR NO KEY UPDATE
        ) AS l
      ) AS b;
      CONTINUE WHEN v_found.keys IS NULL;
      v_index := v_index || jsonb_build_object(v_name, v_found.keys);
      v_org := v_org || v_found.org;
      v_scope := v_scope || v_found.scope;
      v_limit := v_limit || v_found.limits;
      v_spent := v_spent || v_found.spent;
      v_reserved := v_reserved || v_found.reserved;
      v_excess := v_excess || v_found.excess;
      v_mark := v_mark || v_found.mark;
      v_until := least(v_until, v_found.until);
    END LOOP;
    v_now := clock_timestamp();
    EXIT WHEN v_until IS NULL OR v_until > v_now;
    UPDATE budgets b
    SET spent_usd = 0, warned = false, since = conductor_period_since(b.period, v_now), until = conductor_period_until(b.period, v_now),
      excess_usd = least(b.excess_usd, greatest(b.reserved_usd - b.limit_usd, 0)), updated_at = now()
    FROM unnest(v_org, v_scope) AS n (org_id, scope)
    WHERE b.org_id = n.org_id AND b.scope = n.scope AND b.until <= v_now;
  END LOOP;

  -- Where the budget of each row is among those, if it has one.
  SELECT array_agg((v_index #>> ARRAY[p_cells[i + 3], p_cells[i + 4]])::integer ORDER BY i) INTO v_place
  FROM generate_series(0, cardinality(p_cells) - 1, 12) AS g (i);

  FOR v_first IN 0 .. cardinality(p_cells) - 1 BY 12 LOOP
    -- Only the first row of an ask has their number.
    CONTINUE WHEN p_cells[v_first + 2] IS NULL;
    v_last := v_first + (p_cells[v_first + 2]::integer - 1) * 12;
    v_cost := p_cells[v_first + 6];
    v_input := p_cells[v_first + 9];
    v_rate := p_cells[v_first + 10];
    v_most := p_cells[v_first + 11];
    v_free := NULL;
    v_granted := NULL;
    v_as_said := true;
    -- What is left once the attempts that have ended are settled; that they are is not kept where the append is refused.
    FOR i IN v_first .. v_last BY 12 LOOP
      v_at := v_place[i / 12 + 1];
      CONTINUE WHEN v_at IS NULL OR v_most IS NULL;
      v_left := v_limit[v_at] - v_spent[v_at] - v_reserved[v_at];
      IF v_cost IS NOT NULL THEN v_left := v_left - v_cost + least(v_reserved[v_at], p_cells[i + 7]::numeric); END IF;
      IF v_free IS NULL OR v_left < v_free THEN
        v_free := v_left;
        v_tightest := i;
      END IF;
    END LOOP;

    IF v_free IS NOT NULL THEN
      IF v_input IS NULL THEN
        v_verdicts := array_append(v_verdicts, jsonb_build_object(
          'append', p_cells[v_first + 1]::integer, 'refuse', jsonb_build_object('_tag', 'UnpricedModel')));
        CONTINUE;
      END IF;
      -- As much output as the tightest scope still pays for, after the input.
      v_granted := -1;
      IF v_free >= v_input THEN
        v_granted := v_most;
        IF v_rate > 0 THEN v_granted := least(v_granted, div((v_free - v_input) * 1000000, v_rate)); END IF;
      END IF;
      IF v_granted < p_cells[v_first + 12]::numeric THEN
        v_at := v_place[v_tightest / 12 + 1];
        SELECT jsonb_build_object('append', p_cells[v_first + 1]::integer, 'refuse', jsonb_strip_nulls(jsonb_build_object(
          '_tag', 'BudgetExceeded', 'scope', b.scope, 'limit', trim_scale(v_limit[v_at])::text,
          'spent', trim_scale(v_spent[v_at] + coalesce(v_cost, 0))::text,
          'reserved', trim_scale(v_reserved[v_at] - least(v_reserved[v_at], coalesce(p_cells[v_tightest + 7]::numeric, 0)))::text,
          'asked', trim_scale(v_input + ceil(p_cells[v_first + 12]::numeric * v_rate * 1000000) * 0.000000000001)::text,
          'period', nullif(b.period, 'none'), 'until', to_char(b.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))))
        INTO v_patch FROM budgets b WHERE b.org_id = v_org[v_at] AND b.scope = v_scope[v_at];
        v_verdicts := array_append(v_verdicts, v_patch);
        CONTINUE;
      END IF;
      v_amount := v_input + ceil(v_granted * v_rate * 1000000) * 0.000000000001;
      v_as_said := v_granted = v_most;
    END IF;

    v_patch := NULL;
    FOR i IN v_first .. v_last BY 12 LOOP
      v_at := v_place[i / 12 + 1];
      IF v_at IS NULL OR v_granted IS NULL OR v_limit[v_at] IS NULL THEN
        v_as_said := v_as_said AND p_cells[i + 8] IS NULL;
        CONTINUE WHEN v_at IS NULL;
      END IF;
      IF v_cost IS NOT NULL THEN
        v_back := p_cells[i + 7];
        v_spent[v_at] := v_spent[v_at] + v_cost;
        v_reserved[v_at] := greatest(v_reserved[v_at] - v_back, 0);
        IF v_excess[v_at] > 0 OR v_cost > v_back THEN
          v_excess[v_at] := least(
            v_excess[v_at] + greatest(v_cost - v_back, 0), greatest(v_spent[v_at] + v_reserved[v_at] - v_limit[v_at], 0));
        END IF;
      END IF;
      CONTINUE WHEN v_granted IS NULL OR v_limit[v_at] IS NULL;
      v_reserved[v_at] := v_reserved[v_at] + v_amount;
      v_as_said := v_as_said AND coalesce(p_cells[i + 8]::numeric = v_amount, false);
      IF v_spent[v_at] >= v_mark[v_at] THEN
        v_mark[v_at] := NULL;
        v_warned := v_warned || v_at;
        SELECT coalesce(v_patch, '[]') || jsonb_strip_nulls(jsonb_build_object(
          'scope', b.scope, 'limit', trim_scale(v_limit[v_at])::text, 'spent', trim_scale(v_spent[v_at])::text,
          'reserved', trim_scale(v_reserved[v_at])::text, 'period', nullif(b.period, 'none'),
          'until', to_char(b.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))
        INTO v_patch FROM budgets b WHERE b.org_id = v_org[v_at] AND b.scope = v_scope[v_at];
      END IF;
    END LOOP;
    IF NOT v_as_said OR v_patch IS NOT NULL THEN
      v_verdicts := array_append(v_verdicts, jsonb_build_object('append', p_cells[v_first + 1]::integer, 'patch', jsonb_build_object(
        'maxOutput', coalesce(v_granted, v_most), 'reserved', CASE WHEN v_granted IS NULL THEN '0' ELSE trim_scale(v_amount)::text END,
        'scopes', CASE WHEN v_granted IS NULL THEN '[]' ELSE to_jsonb(ARRAY(
          SELECT p_cells[i + 4] FROM generate_series(v_first, v_last, 12) AS g (i) WHERE v_limit[v_place[i / 12 + 1]] IS NOT NULL ORDER BY i)) END)
        || CASE WHEN v_patch IS NULL THEN '{}' ELSE jsonb_build_object('warnings', v_patch) END));
    END IF;
  END LOOP;

  UPDATE budgets b
  SET spent_usd = n.spent, reserved_usd = n.reserved, excess_usd = n.excess, updated_at = now()
  FROM unnest(v_org, v_scope, v_spent, v_reserved, v_excess) AS n (org_id, scope, spent, reserved, excess)
  WHERE b.org_id = n.org_id AND b.scope = n.scope AND (b.spent_usd, b.reserved_usd) IS DISTINCT FROM (n.spent, n.reserved);
  IF v_warned <> '{}' THEN
    UPDATE budgets b SET warned = true
    FROM unnest(v_warned) AS w (k) WHERE b.org_id = v_org[w.k] AND b.scope = v_scope[w.k];
  END IF;
  RETURN to_jsonb(v_verdicts);
END
$$;

-- Marks commands as consumed. A row is append, id, number of the event.
CREATE OR REPLACE FUNCTION conductor_project_inbox(p_cells text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE run_inbox w SET consumed_seq = p_cells[i + 3]::integer
  FROM generate_series(0, cardinality(p_cells) - 1, 3) AS g (i)
  WHERE w.id = p_cells[i + 2] AND w.consumed_seq IS NULL;
END
$$;

-- Keeps requests for approval. A row is append, id, time in ms since 1970, and of an end its status, person and comment; of a request instead
-- organisation, run, call, tool, digest, policy, and when it expires. A retried run asks again.
CREATE OR REPLACE FUNCTION conductor_project_approvals(p_cells text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 0 .. cardinality(p_cells) - 1 BY 13 LOOP
    IF p_cells[i + 4] IS NULL THEN
      INSERT INTO approvals (id, org_id, run_id, call_id, tool, digest, policy, status, expires_at, created_at)
      VALUES (p_cells[i + 2], p_cells[i + 7], p_cells[i + 8], p_cells[i + 9], p_cells[i + 10], p_cells[i + 11], p_cells[i + 12], 'pending',
        to_timestamp(p_cells[i + 13]::bigint / 1000.0), to_timestamp(p_cells[i + 3]::bigint / 1000.0))
      ON CONFLICT (id) DO UPDATE SET status = 'pending', digest = excluded.digest, policy = excluded.policy,
        expires_at = excluded.expires_at, created_at = excluded.created_at, decided_by = NULL, decided_at = NULL, comment = NULL;
    ELSE
      UPDATE approvals SET status = p_cells[i + 4], decided_by = p_cells[i + 5], decided_at = to_timestamp(p_cells[i + 3]::bigint / 1000.0),
        comment = p_cells[i + 6]
      WHERE id = p_cells[i + 2] AND status = 'pending';
    END IF;
  END LOOP;
END
$$;

-- The ledger of attempts. A row is append, and the columns of `model_calls` as below, but the time in milliseconds since 1970.
CREATE OR REPLACE FUNCTION conductor_project_calls(p_cells text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO model_calls (id, org_id, run_id, session_id, agent, turn, attempt, provider, model, uncached_tokens, cache_read_tokens,
    cache_write_tokens, cache_write_hour_tokens, output_tokens, reasoning_tokens, cost_usd, cost_source, prices, latency_ms,
    first_token_ms, finish_reason, request_id, error, ended_at, host, served_model, native_finish, web_searches, tools)
  SELECT p_cells[i + 2], p_cells[i + 3], p_cells[i + 4], p_cells[i + 5], p_cells[i + 6], p_cells[i + 7]::integer, p_cells[i + 8]::integer,
    p_cells[i + 9], p_cells[i + 10], p_cells[i + 11]::integer, p_cells[i + 12]::integer, p_cells[i + 13]::integer, p_cells[i + 14]::integer,
    p_cells[i + 15]::integer, p_cells[i + 16]::integer, p_cells[i + 17]::numeric, p_cells[i + 18], p_cells[i + 19],
    p_cells[i + 20]::integer, p_cells[i + 21]::integer, p_cells[i + 22], p_cells[i + 23], p_cells[i + 24],
    to_timestamp(p_cells[i + 25]::bigint / 1000.0), p_cells[i + 26], p_cells[i + 27], p_cells[i + 28], p_cells[i + 29]::integer,
    p_cells[i + 30]::jsonb
  FROM generate_series(0, cardinality(p_cells) - 1, 30) AS g (i);
END
$$;

-- Appends rows to the chains of their organisations. A row is append, id, its metadata as it is hashed (between the id and the digest of the
-- content), then organisation, microseconds since 1970, event, action, tool, principal, agent, session, run, seq, call, project, success,
-- duration in ms, cost; output, target, error and parameters; and of an execution input, output, when it began and ended in ms since
-- 1970, and retries.
CREATE OR REPLACE FUNCTION conductor_project_trail(p_cells text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_orgs text[] := ARRAY(SELECT DISTINCT p_cells[i + 4] FROM generate_series(0, cardinality(p_cells) - 1, 27) AS g (i));
BEGIN
  -- In order, so that two flushes do not wait for each other; only an organisation's first row makes its head.
  IF (SELECT count(*) FROM (SELECT 1 FROM audit_heads WHERE org_id = ANY (v_orgs) ORDER BY org_id FOR NO KEY UPDATE) AS h)
    < cardinality(v_orgs) THEN
    INSERT INTO audit_heads (org_id, n, hash)
    SELECT o, 0, decode(repeat('00', 32), 'hex') FROM unnest(v_orgs) AS u (o) ORDER BY 1 ON CONFLICT DO NOTHING;
    PERFORM 1 FROM audit_heads WHERE org_id = ANY (v_orgs) ORDER BY org_id FOR NO KEY UPDATE;
  END IF;

  WITH given AS (
    SELECT i, p_cells[i + 4] AS org_id, p_cells[i + 22]::jsonb AS params, uuid_send(gen_random_uuid()) AS salt
    FROM generate_series(0, cardinality(p_cells) - 1, 27) AS g (i) OFFSET 0
  ), sealed AS (
    SELECT g.*, h.n + row_number() OVER (PARTITION BY h.org_id ORDER BY g.i) AS n, h.hash AS head,
      sha256(g.salt || convert_to(json_build_array(g.params::text, p_cells[i + 19], p_cells[i + 20], p_cells[i + 21])::text, 'UTF8')) AS content
    FROM given g JOIN audit_heads h ON h.org_id = g.org_id OFFSET 0
  ), chained AS MATERIALIZED (
    SELECT s.*, conductor_audit_chain(s.head, s.n, sha256(convert_to(
      '["conductor.audit.1", "' || p_cells[i + 2] || '", ' || p_cells[i + 3] || ', "' || encode(s.content, 'hex') || '"]', 'UTF8'
    ))) OVER (PARTITION BY s.org_id ORDER BY s.n) AS hash
    FROM sealed s
  ), written AS (
    INSERT INTO audit_logs (id, org_id, n, "timestamp", event, action, tool_name, principal, agent, session_id, run_id, seq, call_id,
      source_project, success, duration_ms, cost_usd, output_summary, target_entity, error_message, input_params, salt, content_digest, hash)
    SELECT p_cells[i + 2]::uuid, org_id, n, to_timestamp(p_cells[i + 5]::bigint / 1000000.0), p_cells[i + 6], p_cells[i + 7],
      p_cells[i + 8], p_cells[i + 9], p_cells[i + 10], p_cells[i + 11], p_cells[i + 12], p_cells[i + 13]::integer, p_cells[i + 14], p_cells[i + 15],
      p_cells[i + 16]::boolean, p_cells[i + 17]::integer, p_cells[i + 18]::numeric, p_cells[i + 19], p_cells[i + 20], p_cells[i + 21],
      params, salt, content, hash
    FROM chained
  ), executed AS (
    INSERT INTO tool_executions (id, org_id, audit_log_id, session_id, run_id, call_id, tool_name, input_json, output_json, started_at,
      completed_at, retry_count, tokens_used, api_calls_made)
    SELECT p_cells[i + 2]::uuid, org_id, p_cells[i + 2]::uuid, p_cells[i + 11], p_cells[i + 12], p_cells[i + 14], p_cells[i + 8],
      p_cells[i + 23]::jsonb, p_cells[i + 24]::jsonb, to_timestamp(p_cells[i + 25]::bigint / 1000.0), to_timestamp(p_cells[i + 26]::bigint / 1000.0),
      p_cells[i + 27]::integer, 0, 1
    FROM chained WHERE p_cells[i + 23] IS NOT NULL
  )
  UPDATE audit_heads h SET n = c.n, hash = c.hash
  FROM (SELECT DISTINCT ON (org_id) org_id, n, hash FROM chained ORDER BY org_id, n DESC) c
  WHERE h.org_id = c.org_id;
END
$$;

-- Each step changes the row of its run and of its budget: with room on the page that costs no index.
ALTER TABLE runs SET (fillfactor = 50);
ALTER TABLE budgets SET (fillfactor = 50);

-- The rows of cells whose append is not among those that are out.
CREATE OR REPLACE FUNCTION conductor_cells_in(p_cells text[], p_width integer, p_out integer[]) RETURNS text[]
LANGUAGE plpgsql AS $$
BEGIN
  IF p_out = '{}' THEN RETURN p_cells; END IF;
  RETURN ARRAY(
    SELECT p_cells[i + c] FROM generate_series(0, cardinality(p_cells) - 1, p_width) AS g (i), generate_series(1, p_width) AS h (c)
    WHERE p_cells[i + 1]::integer <> ALL (p_out) ORDER BY i, c);
END
$$;

-- Appends. Of each append, in order and counted from 0, each of another run: its run, organisation, epoch, first sequence number, number of
-- events, the status after it with the error or what the run is parked for, and what its attempts add up to; `p_open` is [{run, org, epoch,
-- session, agent, definition, model, parent?}] or null. Then the events, each with the number of its append. Then the functions that have
-- something to do, so many gates and then the projections (`gate_budgets`), with the width and the number of the cells of each, and all
-- cells. Answers null when everything was appended as it is, else {fenced: [i], refused: [{append, refuse}], patched: [{append, patch}]}.
CREATE OR REPLACE FUNCTION conductor_flush(
  p_runner text, p_run text[], p_org text[], p_epoch integer[], p_first integer[], p_n integer[], p_status text[], p_error text[],
  p_parked text[], p_turns integer[], p_cost text[], p_unpriced boolean[], p_input bigint[], p_output bigint[], p_open jsonb,
  p_append integer[], p_seq integer[], p_at bigint[], p_tag text[], p_payload text[],
  p_gates integer, p_part text[], p_width integer[], p_size integer[], p_cells text[]
) RETURNS jsonb
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_fenced integer[];
  v_out integer[] := '{}';
  v_refused jsonb := '[]';
  v_patched jsonb := '[]';
  v_patch jsonb := '{}';
  v_verdicts jsonb;
  v_from integer := 1;
  v_some text[];
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
  SELECT array_agg(k - 1) INTO v_fenced
  FROM generate_series(1, cardinality(p_run)) AS g (k) LEFT JOIN locked l ON l.id = p_run[k]
  WHERE l.id IS NULL OR l.epoch <> p_epoch[k] OR l.seq + 1 <> p_first[k];
  v_out := coalesce(v_fenced, '{}');

  FOR p IN 1 .. p_gates LOOP
    v_some := conductor_cells_in(p_cells[v_from : v_from + p_size[p] - 1], p_width[p], v_out);
    v_from := v_from + p_size[p];
    CONTINUE WHEN v_some = '{}';
    EXECUTE format('SELECT %I($1)', 'conductor_' || p_part[p]) INTO v_verdicts USING v_some;
    CONTINUE WHEN v_verdicts = '[]';
    SELECT v_refused || coalesce(jsonb_agg(x) FILTER (WHERE x ? 'refuse'), '[]'),
      v_patched || coalesce(jsonb_agg(x) FILTER (WHERE x ? 'patch'), '[]'),
      v_patch || coalesce(jsonb_object_agg(x ->> 'append', x -> 'patch') FILTER (WHERE x ? 'patch'), '{}'),
      v_out || coalesce(array_agg((x ->> 'append')::integer) FILTER (WHERE x ? 'refuse'), '{}')
    INTO v_refused, v_patched, v_patch, v_out
    FROM jsonb_array_elements(v_verdicts) AS e (x);
  END LOOP;

  INSERT INTO run_events (run_id, seq, epoch, org_id, at, tag, payload)
  SELECT p_run[p_append[k] + 1], p_seq[k], p_epoch[p_append[k] + 1], p_org[p_append[k] + 1], p_at[k], p_tag[k],
    -- What is granted stands at the end of the event, from `maxOutput` on.
    CASE WHEN p_tag[k] = 'TurnStarted' AND v_patch ? p_append[k]::text
      THEN left(p_payload[k], strpos(p_payload[k], ',"maxOutput":')) || substr((v_patch -> p_append[k]::text)::text, 2)
      ELSE p_payload[k] END
  FROM generate_series(1, cardinality(p_append)) AS g (k)
  WHERE p_append[k] <> ALL (v_out);

  UPDATE runs r
  SET seq = r.seq + p_n[k], status = p_status[k], owner = CASE WHEN p_status[k] = 'running' THEN r.owner END,
    turns = r.turns + p_turns[k], own_cost = r.own_cost + p_cost[k]::numeric, subtree_cost = r.subtree_cost + p_cost[k]::numeric,
    unpriced = r.unpriced OR p_unpriced[k], input_tokens = r.input_tokens + p_input[k], output_tokens = r.output_tokens + p_output[k],
    error_tag = p_error[k], parked_reason = p_parked[k], updated_at = now(),
    ended_at = CASE WHEN p_status[k] IN ('running', 'parked') THEN NULL ELSE now() END
  FROM unnest(p_run) WITH ORDINALITY AS g (run, k)
  WHERE r.id = g.run AND k - 1 <> ALL (v_out);

  FOR p IN p_gates + 1 .. cardinality(p_part) LOOP
    v_some := conductor_cells_in(p_cells[v_from : v_from + p_size[p] - 1], p_width[p], v_out);
    v_from := v_from + p_size[p];
    CONTINUE WHEN v_some = '{}';
    EXECUTE format('SELECT %I($1)', 'conductor_' || p_part[p]) USING v_some;
  END LOOP;

  IF v_out = '{}' AND v_patched = '[]' THEN RETURN NULL; END IF;
  RETURN jsonb_build_object('fenced', to_jsonb(coalesce(v_fenced, '{}')), 'refused', v_refused, 'patched', v_patched);
END
$$;

DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT oid::regprocedure FROM pg_proc
    WHERE proname IN ('conductor_gate_inbox', 'conductor_gate_budgets', 'conductor_project_inbox', 'conductor_project_approvals',
      'conductor_project_calls', 'conductor_project_trail', 'conductor_cells_in', 'conductor_flush') AND pronamespace = current_schema::regnamespace
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', f);
  END LOOP;
END
$$;
