-- Tenants: what organisations and their keys need beyond 002. Runs as it is in the Supabase SQL editor; applying it twice is harmless.

-- How many days finished runs are kept at least, where `conductor prune` is told nothing else; null keeps them for good.
ALTER TABLE organizations ADD COLUMN IF NOT EXISTS retention_days integer CHECK (retention_days > 0);

-- Who made a key, who revoked it, and how many requests a minute it may make; null is the default of the server.
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS created_by text;
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS revoked_by text;
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS requests_per_minute integer CHECK (requests_per_minute > 0);
GRANT SELECT (created_by, revoked_by, requests_per_minute) ON api_keys TO authenticated;

-- How many requests each key may still make, for all processes together: see src/Org/Rate.ts. `taken` is what was taken last. After a crash
-- of the server the counts begin anew, so that they need not be written twice.
CREATE UNLOGGED TABLE IF NOT EXISTS api_key_rates (
  key_id text PRIMARY KEY REFERENCES api_keys (id) ON DELETE CASCADE,
  tokens double precision NOT NULL,
  -- Milliseconds since 1970, by the clock of a process.
  at double precision NOT NULL,
  taken integer NOT NULL
) WITH (fillfactor = 50);
ALTER TABLE api_key_rates ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS api_key_rates_service ON api_key_rates;
CREATE POLICY api_key_rates_service ON api_key_rates FOR ALL TO service_role USING (true) WITH CHECK (true);
REVOKE ALL ON api_key_rates FROM anon, authenticated;
GRANT ALL ON api_key_rates TO service_role;

-- An organisation reads its budgets as they are now, which is a matter of their periods.
GRANT EXECUTE ON FUNCTION conductor_period_since(text, timestamptz), conductor_period_until(text, timestamptz) TO authenticated;

-- What a door reads for an organisation it reads as `authenticated`. Since Postgres 16 a role that made another is its member without
-- the right to act as it, which 001 took for enough.
DO $$
DECLARE
  r text;
BEGIN
  IF current_setting('server_version_num')::integer < 160000 THEN
    RETURN;
  END IF;
  FOREACH r IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
    IF NOT pg_has_role(current_user, r, 'SET') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER WITH SET TRUE', r);
    END IF;
  END LOOP;
END
$$;

-- Supabase gives new tables to everybody, and what was applied is nobody's business. Pasted by hand, there is no such table.
DO $$
BEGIN
  IF to_regclass('conductor_migrations') IS NOT NULL THEN
    REVOKE ALL ON conductor_migrations FROM PUBLIC, anon, authenticated;
  END IF;
END
$$;

-- From here on acts as `authenticated` with the claim of an organisation, before which the older name of the claims would be believed.
-- Answers what was before: role, claims, and claims by the older name.
CREATE OR REPLACE FUNCTION conductor_act_as(p_org text) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
  v_before text[] := ARRAY[current_setting('role'), coalesce(current_setting('request.jwt.claims', true), ''),
    coalesce(current_setting('request.jwt.claim', true), '')];
BEGIN
  PERFORM set_config('request.jwt.claims', json_build_object('org_id', p_org, 'role', 'authenticated')::text, true),
    set_config('request.jwt.claim', '', true), set_config('role', 'authenticated', true);
  RETURN v_before;
END
$$;

-- What is read most for an organisation: a run, the last one of a session, and events. Like every such reading as `authenticated` with the
-- claim, but in one statement instead of a transaction of four. They say whose rows are read, so that nobody but the service may call them.
CREATE OR REPLACE FUNCTION conductor_run_as(p_org text, p_run text) RETURNS SETOF runs
LANGUAGE plpgsql AS $$
DECLARE
  v_before text[] := conductor_act_as(p_org);
BEGIN
  RETURN QUERY SELECT r.* FROM runs r WHERE r.org_id = p_org AND r.id = p_run;
  PERFORM set_config('role', v_before[1], true), set_config('request.jwt.claims', v_before[2], true),
    set_config('request.jwt.claim', v_before[3], true);
END
$$;

CREATE OR REPLACE FUNCTION conductor_latest_as(p_org text, p_session text) RETURNS SETOF runs
LANGUAGE plpgsql AS $$
DECLARE
  v_before text[] := conductor_act_as(p_org);
BEGIN
  RETURN QUERY SELECT r.* FROM runs r WHERE r.org_id = p_org AND r.session_id = p_session AND r.parent_run IS NULL
    ORDER BY r.created_at DESC, r.id DESC LIMIT 1;
  PERFORM set_config('role', v_before[1], true), set_config('request.jwt.claims', v_before[2], true),
    set_config('request.jwt.claim', v_before[3], true);
END
$$;

CREATE OR REPLACE FUNCTION conductor_events_as(p_org text, p_run text, p_after integer, p_limit integer)
RETURNS TABLE (seq integer, epoch integer, at bigint, payload text)
LANGUAGE plpgsql AS $$
DECLARE
  v_before text[] := conductor_act_as(p_org);
BEGIN
  RETURN QUERY SELECT e.seq, e.epoch, e.at, e.payload FROM run_events e
    WHERE e.org_id = p_org AND e.run_id = p_run AND e.seq > p_after ORDER BY e.seq LIMIT p_limit;
  PERFORM set_config('role', v_before[1], true), set_config('request.jwt.claims', v_before[2], true),
    set_config('request.jwt.claim', v_before[3], true);
END
$$;

-- The finished runs of an organisation that ended before a time and that nothing needs any more. A run goes on from the runs of its session
-- before it, so that a session goes when all of it is over and old; so do a run and the runs below it.
CREATE OR REPLACE FUNCTION conductor_prunable(p_org text, p_before timestamptz) RETURNS TABLE (id text, session_id text)
LANGUAGE sql STABLE AS $$
  SELECT r.id, r.session_id FROM runs r
  WHERE r.org_id = p_org AND r.ended_at < p_before
    AND NOT EXISTS (SELECT 1 FROM runs x
      WHERE x.org_id = r.org_id AND x.session_id = r.session_id AND (x.ended_at IS NULL OR x.ended_at >= p_before
        -- Somebody may be about to let a failed run go on.
        OR EXISTS (SELECT 1 FROM runners o WHERE o.id = x.owner AND o.lease_until > now())))
    AND NOT EXISTS (SELECT 1 FROM runs c WHERE c.parent_run = r.id AND (c.ended_at IS NULL OR c.ended_at >= p_before))
    AND NOT EXISTS (SELECT 1 FROM runs p WHERE p.id = r.parent_run AND (p.ended_at IS NULL OR p.ended_at >= p_before))
$$;

-- Deletes at most so many of them, with their events, attempts, commands, requests for approval, executions and budgets, and the sessions
-- that are then empty; once there is none, as many sessions that are older and have no run. Within a session the newest go first, so that
-- what is left is always the beginning of a conversation. Answers what went, by kind. The audit trail stays as it is.
CREATE OR REPLACE FUNCTION conductor_prune(p_org text, p_before timestamptz, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
  v_sessions text[];
  v_runs text[];
  v_events bigint;
  v_calls bigint;
  v_commands bigint;
BEGIN
  -- Whoever begins a run holds its session: nobody goes on from what is found under this lock.
  v_sessions := ARRAY(
    SELECT s.id FROM sessions s
    WHERE s.org_id = p_org AND s.id IN (SELECT p.session_id FROM conductor_prunable(p_org, p_before) p ORDER BY p.id LIMIT p_limit)
    ORDER BY s.id FOR UPDATE SKIP LOCKED
  );
  v_runs := ARRAY(
    SELECT r.id FROM runs r
    WHERE r.org_id = p_org AND r.session_id = ANY (v_sessions) AND r.ended_at < p_before
      AND r.id IN (SELECT p.id FROM conductor_prunable(p_org, p_before) p WHERE p.session_id = ANY (v_sessions))
    ORDER BY r.id DESC LIMIT p_limit FOR UPDATE SKIP LOCKED
  );
  -- One that somebody else holds may be about to go on from those before it.
  v_runs := ARRAY(
    SELECT r.id FROM runs r
    WHERE r.id = ANY (v_runs) AND NOT EXISTS (SELECT 1 FROM runs n
      WHERE n.org_id = r.org_id AND n.session_id = r.session_id AND n.id > r.id AND n.id <> ALL (v_runs))
  );
  IF cardinality(v_runs) = 0 THEN
    v_sessions := ARRAY(
      SELECT s.id FROM sessions s
      WHERE s.org_id = p_org AND s.created_at < p_before
        AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.org_id = s.org_id AND r.session_id = s.id)
      ORDER BY s.id LIMIT p_limit
    );
  END IF;
  SELECT count(*) INTO v_events FROM run_events WHERE run_id = ANY (v_runs);
  SELECT count(*) INTO v_calls FROM model_calls WHERE run_id = ANY (v_runs);
  SELECT count(*) INTO v_commands FROM run_inbox WHERE run_id = ANY (v_runs);
  DELETE FROM tool_executions WHERE org_id = p_org AND run_id = ANY (v_runs);
  DELETE FROM runs WHERE id = ANY (v_runs);
  v_sessions := ARRAY(
    SELECT s.id FROM sessions s
    WHERE s.org_id = p_org AND s.id = ANY (v_sessions)
      AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.org_id = s.org_id AND r.session_id = s.id)
    -- One that a run is just beginning in stays.
    FOR UPDATE SKIP LOCKED
  );
  DELETE FROM sessions WHERE org_id = p_org AND id = ANY (v_sessions);
  -- What a session may spend stays: it is begun again by its name.
  DELETE FROM budgets WHERE org_id = p_org AND reserved_usd = 0 AND scope IN (SELECT 'run:' || u.id FROM unnest(v_runs) AS u (id));
  RETURN jsonb_build_object('runs', cardinality(v_runs), 'events', v_events, 'calls', v_calls, 'commands', v_commands,
    'sessions', cardinality(v_sessions));
END
$$;

-- What it would delete, in all.
CREATE OR REPLACE FUNCTION conductor_prune_count(p_org text, p_before timestamptz) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  WITH gone AS MATERIALIZED (SELECT * FROM conductor_prunable(p_org, p_before))
  SELECT jsonb_build_object(
    'runs', (SELECT count(*) FROM gone),
    'events', (SELECT count(*) FROM run_events e JOIN gone g ON g.id = e.run_id),
    'calls', (SELECT count(*) FROM model_calls c JOIN gone g ON g.id = c.run_id),
    'commands', (SELECT count(*) FROM run_inbox i JOIN gone g ON g.id = i.run_id),
    'sessions', (SELECT count(*) FROM sessions s WHERE s.org_id = p_org
      AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.org_id = s.org_id AND r.session_id = s.id AND r.id NOT IN (SELECT g.id FROM gone g))
      AND (s.created_at < p_before OR s.id IN (SELECT g.session_id FROM gone g))))
$$;

DO $$
BEGIN
  REVOKE ALL ON FUNCTION conductor_act_as(text), conductor_run_as(text, text), conductor_latest_as(text, text), conductor_events_as(text, text, integer, integer)
    FROM PUBLIC, anon, authenticated;
  GRANT EXECUTE ON FUNCTION conductor_act_as(text), conductor_run_as(text, text), conductor_latest_as(text, text),
    conductor_events_as(text, text, integer, integer) TO service_role;
  REVOKE ALL ON FUNCTION conductor_prunable(text, timestamptz), conductor_prune(text, timestamptz, integer),
    conductor_prune_count(text, timestamptz) FROM PUBLIC, anon, authenticated;
  GRANT EXECUTE ON FUNCTION conductor_prunable(text, timestamptz), conductor_prune(text, timestamptz, integer),
    conductor_prune_count(text, timestamptz) TO service_role;
END
$$;
