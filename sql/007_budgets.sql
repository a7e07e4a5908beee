-- Budgets with periods, a constraint on what they hold, a warning, and corrections of what attempts cost. Runs as it is in the Supabase SQL
-- editor; applying it twice is harmless.

-- Of a budget with a period `spent_usd` counts from `since`; at `until`, by this database's clock, the next period begins. `excess_usd` is
-- how far what is spent and reserved is above the limit: only a cost above what was reserved for it, or a lower limit, may raise it, and
-- never a reservation. `warned` tells that somebody was told that most of it is spent. A budget that is removed while it holds reservations
-- stays until they are settled, and admits nothing and refuses nothing.
ALTER TABLE budgets ADD COLUMN IF NOT EXISTS period text NOT NULL DEFAULT 'none';
ALTER TABLE budgets ADD COLUMN IF NOT EXISTS since timestamptz NOT NULL DEFAULT '-infinity';
ALTER TABLE budgets ALTER COLUMN since SET DEFAULT now();
ALTER TABLE budgets ADD COLUMN IF NOT EXISTS until timestamptz;
ALTER TABLE budgets ADD COLUMN IF NOT EXISTS excess_usd numeric(24, 12) NOT NULL DEFAULT 0;
ALTER TABLE budgets ADD COLUMN IF NOT EXISTS warned boolean NOT NULL DEFAULT false;
ALTER TABLE budgets ADD COLUMN IF NOT EXISTS removed boolean NOT NULL DEFAULT false;

-- What was spent and reserved before limits were lowered, or was dearer than it should have been.
UPDATE budgets SET excess_usd = spent_usd + reserved_usd - limit_usd
WHERE spent_usd + reserved_usd > limit_usd + excess_usd AND NOT removed;

ALTER TABLE budgets DROP CONSTRAINT IF EXISTS budgets_period;
ALTER TABLE budgets ADD CONSTRAINT budgets_period CHECK (period IN ('none', 'day', 'month') AND (period = 'none') = (until IS NULL));
ALTER TABLE budgets DROP CONSTRAINT IF EXISTS budgets_within_limit;
ALTER TABLE budgets ADD CONSTRAINT budgets_within_limit
  CHECK (excess_usd >= 0 AND (removed OR spent_usd + reserved_usd <= limit_usd + excess_usd));

-- When an attempt was settled, by this database's clock: in which period of its budgets. Null for what was settled before.
ALTER TABLE model_calls ADD COLUMN IF NOT EXISTS settled_at timestamptz;
ALTER TABLE model_calls ALTER COLUMN settled_at SET DEFAULT clock_timestamp();
-- The row that this one corrects. A correction says whose attempt it is as the row that it corrects does; its cost, tokens and searches are
-- differences, its source is the attempt's from now on, and its time is when it was made.
ALTER TABLE model_calls ADD COLUMN IF NOT EXISTS corrects text;
CREATE INDEX IF NOT EXISTS model_calls_corrects ON model_calls (corrects) WHERE corrects IS NOT NULL;

-- The beginning of the period that a time is in, in UTC; null without a period.
CREATE OR REPLACE FUNCTION conductor_period_since(p_period text, p_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_period <> 'none' THEN date_trunc(p_period, p_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' END
$$;

-- And its end, which is the beginning of the next.
CREATE OR REPLACE FUNCTION conductor_period_until(p_period text, p_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_period <> 'none' THEN
    (date_trunc(p_period, p_at AT TIME ZONE 'UTC') + CASE p_period WHEN 'day' THEN interval '1 day' ELSE interval '1 month' END) AT TIME ZONE 'UTC'
  END
$$;

-- A limit or a period is set, by whatever statement: a budget with another period, and one that was removed, begins anew; what is reserved
-- is carried. What is above the limit is said to be.
CREATE OR REPLACE FUNCTION conductor_set_limit() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
BEGIN
  IF OLD.removed OR NEW.period <> OLD.period OR OLD.until <= v_now THEN
    NEW.since := CASE WHEN OLD.removed OR NEW.period <> OLD.period THEN v_now ELSE conductor_period_since(NEW.period, v_now) END;
    NEW.until := conductor_period_until(NEW.period, v_now);
    NEW.spent_usd := 0;
    NEW.warned := false;
    NEW.removed := false;
  END IF;
  NEW.excess_usd := greatest(NEW.spent_usd + NEW.reserved_usd - NEW.limit_usd, 0);
  NEW.warned := NEW.warned AND NEW.spent_usd >= NEW.limit_usd * 0.8;
  RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER budgets_limit BEFORE UPDATE OF limit_usd, period ON budgets
  FOR EACH ROW EXECUTE FUNCTION conductor_set_limit();

-- Opens, settles and reserves budgets, in the order of the appends, under lock. An ask is {append, org, scopes, limit?, cost?, back?, want?}:
-- the scopes of the run, its own last, whose new limit `limit` is; what its attempts that have ended cost, and what was reserved for them in
-- each scope; and [input, rate, max, min] of the attempt that begins, or [] where it has no price.
CREATE OR REPLACE FUNCTION conductor_gate_budgets(p_asks jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
  v_group record;
  v_found record;
  v_index jsonb;
  v_keys jsonb;
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
  v_ask record;
  v_back numeric;
  v_places integer[];
  v_at integer;
  v_left numeric;
  v_free numeric;
  v_tightest integer;
  v_granted numeric;
  v_amount numeric;
  v_scopes text[];
  v_patch jsonb;
BEGIN
  IF p_asks @? '$[*].limit' THEN
    INSERT INTO budgets (org_id, scope, limit_usd)
    SELECT a.org, a.scopes[cardinality(a.scopes)], a."limit"
    FROM jsonb_to_recordset(p_asks) AS a (org text, scopes text[], "limit" numeric)
    WHERE a."limit" IS NOT NULL
    ORDER BY 1, 2
    ON CONFLICT (org_id, scope) DO UPDATE SET limit_usd = excluded.limit_usd, updated_at = now();
  END IF;

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
    FOR v_group IN
      SELECT a.org, array_agg(s.scope) AS scopes
      FROM jsonb_to_recordset(p_asks) AS a (org text, scopes text[]), unnest(a.scopes) AS s (scope)
      GROUP BY a.org ORDER BY a.org
    LOOP
      SELECT jsonb_object_agg(b.scope, b.k + cardinality(v_scope)) AS keys, array_agg(b.org_id) AS org, array_agg(b.scope) AS scope,
        array_agg(CASE WHEN NOT b.removed THEN b.limit_usd END) AS limits, array_agg(b.spent_usd) AS spent,
        array_agg(b.reserved_usd) AS reserved, array_agg(b.excess_usd) AS excess,
        array_agg(CASE WHEN NOT b.warned AND b.limit_usd > 0 THEN b.limit_usd * 0.8 END) AS mark, min(b.until) AS until
      INTO v_found
      FROM (
        SELECT l.*, row_number() OVER () AS k FROM (
          SELECT * FROM budgets b WHERE b.org_id = v_group.org AND b.scope = ANY (v_group.scopes) ORDER BY b.scope FOR NO KEY UPDATE
        ) AS l
      ) AS b;
      CONTINUE WHEN v_found.keys IS NULL;
      v_index := v_index || jsonb_build_object(v_group.org, v_found.keys);
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
  IF v_scope = '{}' THEN RETURN '[]'; END IF;

  FOR v_ask IN
    SELECT a.append, a.org, a.scopes, a.cost, a.back, a.want
    FROM jsonb_to_recordset(p_asks) AS a (append integer, org text, scopes text[], cost numeric, back numeric[], want numeric[])
    ORDER BY a.append
  LOOP
    v_keys := v_index -> v_ask.org;
    v_places := '{}';
    v_free := NULL;
    v_granted := NULL;
    -- What is left once the attempts that have ended are settled; that they are is not kept where the append is refused.
    FOR i IN 1 .. cardinality(v_ask.scopes) LOOP
      v_at := (v_keys ->> v_ask.scopes[i])::integer;
      v_places[i] := v_at;
      CONTINUE WHEN v_at IS NULL OR v_ask.want IS NULL;
      v_left := v_limit[v_at] - v_spent[v_at] - v_reserved[v_at];
      IF v_ask.cost IS NOT NULL THEN v_left := v_left - v_ask.cost + least(v_reserved[v_at], v_ask.back[i]); END IF;
      IF v_free IS NULL OR v_left < v_free THEN
        v_free := v_left;
        v_tightest := i;
      END IF;
    END LOOP;

    IF v_free IS NOT NULL THEN
      IF v_ask.want = '{}' THEN
        v_verdicts := array_append(v_verdicts, jsonb_build_object('append', v_ask.append, 'refuse', jsonb_build_object('_tag', 'UnpricedModel')));
        CONTINUE;
      END IF;
      -- As much output as the tightest scope still pays for, after the input.
      v_granted := -1;
      IF v_free >= v_ask.want[1] THEN
        v_granted := v_ask.want[3];
        IF v_ask.want[2] > 0 THEN v_granted := least(v_granted, div((v_free - v_ask.want[1]) * 1000000, v_ask.want[2])); END IF;
      END IF;
      IF v_granted < v_ask.want[4] THEN
        v_at := v_places[v_tightest];
        SELECT jsonb_build_object('append', v_ask.append, 'refuse', jsonb_strip_nulls(jsonb_build_object(
          '_tag', 'BudgetExceeded', 'scope', b.scope, 'limit', trim_scale(v_limit[v_at])::text,
          'spent', trim_scale(v_spent[v_at] + coalesce(v_ask.cost, 0))::text,
          'reserved', trim_scale(v_reserved[v_at] - least(v_reserved[v_at], coalesce(v_ask.back[v_tightest], 0)))::text,
          'asked', trim_scale(v_ask.want[1] + ceil(v_ask.want[4] * v_ask.want[2] * 1000000) * 0.000000000001)::text,
          'period', nullif(b.period, 'none'), 'until', to_char(b.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))))
        INTO v_patch FROM budgets b WHERE b.org_id = v_org[v_at] AND b.scope = v_scope[v_at];
        v_verdicts := array_append(v_verdicts, v_patch);
        CONTINUE;
      END IF;
      v_amount := v_ask.want[1] + ceil(v_granted * v_ask.want[2] * 1000000) * 0.000000000001;
    END IF;

    v_scopes := '{}';
    v_patch := NULL;
    FOR i IN 1 .. cardinality(v_ask.scopes) LOOP
      v_at := v_places[i];
      CONTINUE WHEN v_at IS NULL;
      IF v_ask.cost IS NOT NULL THEN
        v_back := v_ask.back[i];
        v_spent[v_at] := v_spent[v_at] + v_ask.cost;
        v_reserved[v_at] := greatest(v_reserved[v_at] - v_back, 0);
        IF v_excess[v_at] > 0 OR v_ask.cost > v_back THEN
          v_excess[v_at] := least(
            v_excess[v_at] + greatest(v_ask.cost - v_back, 0), greatest(v_spent[v_at] + v_reserved[v_at] - v_limit[v_at], 0));
        END IF;
      END IF;
      CONTINUE WHEN v_granted IS NULL OR v_limit[v_at] IS NULL;
      v_reserved[v_at] := v_reserved[v_at] + v_amount;
      v_scopes := v_scopes || v_scope[v_at];
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
    CONTINUE WHEN v_granted IS NULL;
    v_verdicts := array_append(v_verdicts, jsonb_build_object('append', v_ask.append, 'patch', jsonb_build_object(
      'maxOutput', v_granted, 'reserved', trim_scale(v_amount)::text, 'scopes', to_jsonb(v_scopes))
      || CASE WHEN v_patch IS NULL THEN '{}' ELSE jsonb_build_object('warnings', v_patch) END));
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

-- Corrects what an attempt cost by what its provider reports: a row of the ledger with the differences, and by as much more or less is spent
-- of the budgets that were charged for it and are in that period still, and cost its run and those above it. `p_usage` is {uncached,
-- cacheRead, cacheWrite, cacheWriteHour, output, reasoning, webSearches?} or null. Answers null where there is no such attempt, else {before, difference,
-- changed}; a report that says what was known changes nothing.
CREATE OR REPLACE FUNCTION conductor_correct_call(p_org text, p_attempt text, p_cost numeric, p_request text, p_usage jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
  v_call model_calls;
  v_known record;
  v_difference numeric;
  v_more integer[];
BEGIN
  SELECT * INTO v_call FROM model_calls WHERE id = p_attempt AND org_id = p_org AND corrects IS NULL;
  IF NOT FOUND THEN RETURN NULL; END IF;
  -- Corrections of a run wait for each other, and for its flush.
  PERFORM 1 FROM runs WHERE id = v_call.run_id FOR NO KEY UPDATE;
  SELECT count(*) AS rows, sum(cost_usd) AS cost, (array_agg(cost_source ORDER BY corrects IS NOT NULL DESC, ended_at DESC, length(id) DESC, id DESC))[1] AS source,
    ARRAY[sum(uncached_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(cache_write_hour_tokens), sum(output_tokens),
      sum(reasoning_tokens), sum(web_searches)] AS used
  INTO v_known FROM model_calls WHERE id = p_attempt OR corrects = p_attempt;
  v_difference := p_cost - v_known.cost;
  v_more := CASE WHEN p_usage IS NULL THEN '{0,0,0,0,0,0,0}' ELSE ARRAY[
    (p_usage ->> 'uncached')::integer - v_known.used[1], (p_usage ->> 'cacheRead')::integer - v_known.used[2],
    (p_usage ->> 'cacheWrite')::integer - v_known.used[3], (p_usage ->> 'cacheWriteHour')::integer - v_known.used[4],
    (p_usage ->> 'output')::integer - v_known.used[5], (p_usage ->> 'reasoning')::integer - v_known.used[6],
    coalesce((p_usage ->> 'webSearches')::integer - v_known.used[7], 0)] END;
  IF v_difference = 0 AND v_more = '{0,0,0,0,0,0,0}' AND v_known.source = 'reported' THEN
    RETURN jsonb_build_object('before', trim_scale(v_known.cost)::text, 'difference', '0', 'changed', false);
  END IF;

  INSERT INTO model_calls (id, org_id, run_id, session_id, agent, turn, attempt, provider, model, uncached_tokens, cache_read_tokens,
    cache_write_tokens, cache_write_hour_tokens, output_tokens, reasoning_tokens, web_searches, cost_usd, cost_source, prices, latency_ms,
    request_id, ended_at, corrects, host, served_model)
  VALUES (p_attempt || '+' || v_known.rows, p_org, v_call.run_id, v_call.session_id, v_call.agent, v_call.turn, v_call.attempt,
    v_call.provider, v_call.model, v_more[1], v_more[2], v_more[3], v_more[4], v_more[5], v_more[6], v_more[7], v_difference, 'reported', v_call.prices,
    0, coalesce(p_request, v_call.request_id), clock_timestamp(), p_attempt, v_call.host, v_call.served_model);

  WITH RECURSIVE above AS (
    SELECT r.id, r.parent_run FROM runs r WHERE r.id = v_call.run_id
    UNION SELECT r.id, r.parent_run FROM runs r JOIN above a ON r.id = a.parent_run
  )
  UPDATE runs r SET subtree_cost = r.subtree_cost + v_difference FROM above a WHERE r.id = a.id AND v_difference <> 0;
  UPDATE runs r
  SET own_cost = r.own_cost + v_difference, input_tokens = r.input_tokens + v_more[1] + v_more[2] + v_more[3] + v_more[4],
    output_tokens = r.output_tokens + v_more[5], updated_at = now(),
    unpriced = EXISTS (SELECT 1 FROM model_calls c WHERE c.run_id = r.id AND c.cost_source = 'unpriced'
      AND NOT EXISTS (SELECT 1 FROM model_calls k WHERE k.corrects = c.id))
  WHERE r.id = v_call.run_id;

  PERFORM 1 FROM budgets b
  WHERE b.org_id = p_org AND b.scope IN ('org:' || p_org, 'session:' || v_call.session_id, 'run:' || v_call.run_id)
  ORDER BY b.scope FOR NO KEY UPDATE;
  UPDATE budgets b
  SET spent_usd = b.spent_usd + v_difference, updated_at = now(), excess_usd = least(
    b.excess_usd + greatest(v_difference, 0), greatest(b.spent_usd + v_difference + b.reserved_usd - b.limit_usd, 0))
  WHERE b.org_id = p_org AND b.scope IN ('org:' || p_org, 'session:' || v_call.session_id, 'run:' || v_call.run_id)
    AND b.since <= coalesce(v_call.settled_at, '-infinity') AND (b.until IS NULL OR b.until > clock_timestamp());
  RETURN jsonb_build_object('before', trim_scale(v_known.cost)::text, 'difference', trim_scale(v_difference)::text, 'changed', true);
END
$$;

-- What the tools were used for, without what administrators do and budgets tell.
CREATE OR REPLACE VIEW tool_usage_stats WITH (security_invoker = true) AS
  SELECT
    org_id,
    tool_name,
    source_project,
    count(*) AS total_calls,
    count(*) FILTER (WHERE success) AS successful_calls,
    count(*) FILTER (WHERE NOT success) AS failed_calls,
    round(avg(duration_ms), 1) AS avg_duration_ms,
    sum(cost_usd) AS total_cost_usd
  FROM audit_logs
  WHERE "timestamp" > now() - interval '7 days'
    AND action NOT IN ('model_attempt', 'approval', 'command', 'run', 'erase', 'admin', 'budget_warning')
  GROUP BY org_id, tool_name, source_project;

-- The asks of processes of the version before: {append, org, scopes, open: {scope, limit}?, settle: [{scopes, reserved, cost}]?,
-- reserve: {input, rate, max, min, priced}?}.
CREATE OR REPLACE FUNCTION conductor_gate_budget(p_asks jsonb) RETURNS jsonb
LANGUAGE sql AS $$
  SELECT conductor_gate_budgets(coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
    'append', a.append, 'org', a.org, 'scopes', a.scopes, 'limit', a.open -> 'limit',
    'cost', CASE WHEN jsonb_typeof(a.settle) = 'array' THEN (
      SELECT sum((e.x ->> 'cost')::numeric)::text FROM jsonb_array_elements(a.settle) AS e (x)) END,
    'back', CASE WHEN jsonb_typeof(a.settle) = 'array' THEN (
      SELECT jsonb_agg((SELECT coalesce(sum((e.x ->> 'reserved')::numeric), 0)::text FROM jsonb_array_elements(a.settle) AS e (x)
        WHERE e.x -> 'scopes' ? s.scope) ORDER BY s.i)
      FROM jsonb_array_elements_text(a.scopes) WITH ORDINALITY AS s (scope, i)) END,
    'want', CASE WHEN jsonb_typeof(a.reserve) = 'object' THEN
      CASE WHEN (a.reserve ->> 'priced')::boolean
        THEN jsonb_build_array(a.reserve -> 'input', a.reserve -> 'rate', a.reserve -> 'max', a.reserve -> 'min') ELSE '[]' END END
    )) ORDER BY a.append), '[]'))
  FROM jsonb_to_recordset(p_asks) AS a (append integer, org text, scopes jsonb, open jsonb, settle jsonb, reserve jsonb)
$$;

DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT oid::regprocedure FROM pg_proc
    WHERE proname IN ('conductor_gate_budget', 'conductor_gate_budgets', 'conductor_correct_call', 'conductor_set_limit', 'conductor_period_since',
      'conductor_period_until') AND pronamespace = current_schema::regnamespace
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', f);
  END LOOP;
END
$$;
