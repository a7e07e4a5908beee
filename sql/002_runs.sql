-- Runs, their logs, and what hangs on them. Runs as it is in the Supabase SQL editor; applying it twice is harmless.

CREATE TABLE IF NOT EXISTS organizations (
  id text PRIMARY KEY,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS api_keys (
  id text PRIMARY KEY,
  org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
  name text NOT NULL,
  prefix text NOT NULL,
  hash bytea NOT NULL UNIQUE,
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz
);
CREATE INDEX IF NOT EXISTS api_keys_org ON api_keys (org_id);

CREATE TABLE IF NOT EXISTS sessions (
  id text NOT NULL,
  org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, id)
);

-- Each definition of an agent once, by its hash; events name the hash.
CREATE TABLE IF NOT EXISTS agent_definitions (
  hash text PRIMARY KEY,
  agent text NOT NULL,
  definition text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- One row for each process that performs runs. Its lease is valid until `lease_until`, by the database's clock.
CREATE TABLE IF NOT EXISTS runners (
  id text PRIMARY KEY,
  host text NOT NULL,
  pid integer NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  lease_until timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS runs (
  id text PRIMARY KEY,
  org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
  session_id text NOT NULL,
  agent text NOT NULL,
  definition_hash text NOT NULL,
  model text NOT NULL,
  status text NOT NULL CHECK (status IN ('running', 'parked', 'completed', 'failed', 'cancelled')),
  owner text,
  epoch integer NOT NULL,
  seq integer NOT NULL,
  parent_run text,
  turns integer NOT NULL DEFAULT 0,
  own_cost numeric(24, 12) NOT NULL DEFAULT 0,
  subtree_cost numeric(24, 12) NOT NULL DEFAULT 0,
  unpriced boolean NOT NULL DEFAULT false,
  input_tokens bigint NOT NULL DEFAULT 0,
  output_tokens bigint NOT NULL DEFAULT 0,
  error_tag text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  FOREIGN KEY (org_id, session_id) REFERENCES sessions (org_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);
-- A session has one active run at most; children run beside their parents.
CREATE UNIQUE INDEX IF NOT EXISTS runs_one_active_in_session ON runs (org_id, session_id)
  WHERE ended_at IS NULL AND parent_run IS NULL;
CREATE INDEX IF NOT EXISTS runs_unfinished ON runs (agent, id) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS runs_latest ON runs (org_id, id DESC);
CREATE INDEX IF NOT EXISTS runs_session ON runs (org_id, session_id, created_at DESC);
CREATE INDEX IF NOT EXISTS runs_parent ON runs (parent_run) WHERE parent_run IS NOT NULL;

-- The log. `payload` is the event as JSON text, byte for byte as it was written.
CREATE TABLE IF NOT EXISTS run_events (
  run_id text NOT NULL,
  seq integer NOT NULL,
  epoch integer NOT NULL,
  org_id text NOT NULL,
  at bigint NOT NULL,
  tag text NOT NULL,
  payload text NOT NULL,
  PRIMARY KEY (run_id, seq)
);

-- Commands for runs, inserted by anybody, consumed with the event that records them.
CREATE TABLE IF NOT EXISTS run_inbox (
  id text PRIMARY KEY,
  run_id text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  org_id text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('message', 'decision', 'cancel', 'resolve')),
  payload text NOT NULL,
  dedupe text NOT NULL,
  principal text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  consumed_seq integer,
  UNIQUE (run_id, dedupe)
);
CREATE INDEX IF NOT EXISTS run_inbox_waiting ON run_inbox (run_id, id) WHERE consumed_seq IS NULL;

-- One row for each attempt that has ended.
CREATE TABLE IF NOT EXISTS model_calls (
  id text PRIMARY KEY,
  org_id text NOT NULL,
  run_id text NOT NULL,
  session_id text NOT NULL,
  agent text NOT NULL,
  turn integer NOT NULL,
  attempt integer NOT NULL,
  provider text NOT NULL,
  model text NOT NULL,
  uncached_tokens integer NOT NULL,
  cache_read_tokens integer NOT NULL,
  cache_write_tokens integer NOT NULL,
  cache_write_hour_tokens integer NOT NULL,
  output_tokens integer NOT NULL,
  reasoning_tokens integer NOT NULL,
  cost_usd numeric(24, 12) NOT NULL,
  cost_source text NOT NULL CHECK (cost_source IN ('reported', 'priced', 'bound', 'unpriced')),
  prices text,
  latency_ms integer NOT NULL,
  first_token_ms integer,
  finish_reason text,
  request_id text,
  error text,
  ended_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS model_calls_run ON model_calls (run_id);
CREATE INDEX IF NOT EXISTS model_calls_org ON model_calls (org_id, ended_at DESC);

-- The flush writes events and calls for runs that it has locked, so a foreign key would check row by row what is known: half
-- the time of the insert. What hangs on a run goes with it all the same.
CREATE OR REPLACE FUNCTION conductor_forget_runs() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM run_events e USING gone g WHERE e.run_id = g.id;
  DELETE FROM model_calls c USING gone g WHERE c.run_id = g.id;
  RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS conductor_forget_runs ON runs;
CREATE TRIGGER conductor_forget_runs AFTER DELETE ON runs REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION conductor_forget_runs();

CREATE TABLE IF NOT EXISTS approvals (
  id text PRIMARY KEY,
  org_id text NOT NULL,
  run_id text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  call_id text NOT NULL,
  tool text NOT NULL,
  digest text NOT NULL,
  status text NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired')),
  expires_at timestamptz NOT NULL,
  decided_by text,
  decided_at timestamptz,
  comment text,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (run_id, call_id)
);
CREATE INDEX IF NOT EXISTS approvals_pending ON approvals (org_id, expires_at) WHERE status = 'pending';

-- What a scope (`org:…`, `session:…`, `run:…`) may spend. Nothing is spent or set aside beyond the limit.
CREATE TABLE IF NOT EXISTS budgets (
  scope text NOT NULL,
  org_id text NOT NULL,
  limit_usd numeric(24, 12) NOT NULL CHECK (limit_usd >= 0),
  spent_usd numeric(24, 12) NOT NULL DEFAULT 0,
  reserved_usd numeric(24, 12) NOT NULL DEFAULT 0 CHECK (reserved_usd >= 0),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, scope)
) WITH (fillfactor = 70);

DO $$
DECLARE
  t text;
  own text;
BEGIN
  FOREACH t IN ARRAY ARRAY['organizations', 'api_keys', 'sessions', 'agent_definitions', 'runners', 'runs', 'run_events',
    'run_inbox', 'model_calls', 'approvals', 'budgets']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('DROP POLICY IF EXISTS %I ON %I', t || '_service', t);
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL TO service_role USING (true) WITH CHECK (true)', t || '_service', t);
    EXECUTE format('REVOKE ALL ON %I FROM anon, authenticated', t);
    EXECUTE format('GRANT ALL ON %I TO service_role', t);
    EXECUTE format('DROP POLICY IF EXISTS %I ON %I', t || '_own', t);
    own := CASE t
      WHEN 'organizations' THEN 'id = (SELECT auth.jwt() ->> ''org_id'')'
      WHEN 'runners' THEN NULL
      WHEN 'agent_definitions' THEN
        'EXISTS (SELECT 1 FROM runs r WHERE r.definition_hash = hash AND r.org_id = (SELECT auth.jwt() ->> ''org_id''))'
      ELSE 'org_id = (SELECT auth.jwt() ->> ''org_id'')'
    END;
    IF own IS NOT NULL THEN
      EXECUTE format('CREATE POLICY %I ON %I FOR SELECT TO authenticated USING (%s)', t || '_own', t, own);
      EXECUTE format('GRANT SELECT ON %I TO authenticated', t);
    END IF;
  END LOOP;
  -- The hash of a key is for the service alone.
  REVOKE SELECT ON api_keys FROM authenticated;
  GRANT SELECT (id, org_id, name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at) ON api_keys TO authenticated;
END
$$;
