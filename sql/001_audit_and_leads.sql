-- The ground: roles, the audit trail, tool executions and leads. Runs as it is in the Supabase SQL editor; applying it twice is harmless.

-- Roles and claims --------------------------------------------------------------------------------------------------------------------

-- Supabase has these roles; a bare Postgres gets them. Roles belong to the whole server, so another database may be making them now.
DO $$
DECLARE
  r text;
BEGIN
  FOREACH r IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', r);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
      END;
    END IF;
    -- Whoever applies this must be able to act as each of them.
    IF NOT pg_has_role(current_user, r, 'MEMBER') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', r);
    END IF;
  END LOOP;
END $$;

-- `auth.jwt()` is Supabase's: the claims of the request. Where it is missing it is made, to the same effect.
DO $$
BEGIN
  IF to_regprocedure('auth.jwt()') IS NULL THEN
    CREATE SCHEMA IF NOT EXISTS auth;
    GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
    CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $f$
      SELECT coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
      )::jsonb
    $f$;
    GRANT EXECUTE ON FUNCTION auth.jwt() TO anon, authenticated, service_role;
  END IF;
END $$;

-- The audit trail ---------------------------------------------------------------------------------------------------------------------

-- One row for each thing that an agent, a tool or a person did. The rows of an organisation are a chain: a row's hash covers the hash
-- before it, its number, its metadata and the digest of its content, which is salted, so that content and salt can be erased and the
-- chain still holds. The bytes that are hashed are specified in src/AuditLog/Chain.ts.
-- Content, which may tell of persons, is: input_params, output_summary, target_entity, error_message. The rest is metadata and stays.
CREATE TABLE IF NOT EXISTS audit_logs (
  id uuid PRIMARY KEY,
  org_id text NOT NULL,
  n bigint NOT NULL CHECK (n > 0),
  -- When it happened, by the clock of the process that did it.
  "timestamp" timestamptz NOT NULL,
  -- The event of the run that the row is about, or what an administrator did.
  event text NOT NULL,
  -- tool_call, model_attempt, approval, command, run, erase; plugins have their own: scrape, enrich, outreach.
  action text NOT NULL,
  -- The tool; where there is none the model, the agent or the command.
  tool_name text NOT NULL,
  principal text NOT NULL,
  agent text,
  session_id text,
  run_id text,
  seq integer,
  call_id text,
  source_project text,
  success boolean NOT NULL,
  duration_ms integer,
  cost_usd numeric(24, 12),
  target_entity text,
  input_params jsonb,
  output_summary text,
  error_message text,
  salt bytea,
  content_digest bytea NOT NULL,
  hash bytea NOT NULL,
  erased_at timestamptz,
  UNIQUE (org_id, n) -- also the index of org_id
);
CREATE INDEX IF NOT EXISTS audit_logs_timestamp ON audit_logs ("timestamp" DESC);
CREATE INDEX IF NOT EXISTS audit_logs_tool_name ON audit_logs (tool_name);
CREATE INDEX IF NOT EXISTS audit_logs_session_id ON audit_logs (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_logs_run_id ON audit_logs (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_logs_target ON audit_logs (org_id, target_entity) WHERE target_entity IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_logs_failures ON audit_logs ("timestamp" DESC) WHERE success = false;

-- The end of each organisation's chain, locked while rows are added.
CREATE TABLE IF NOT EXISTS audit_heads (
  org_id text PRIMARY KEY,
  n bigint NOT NULL,
  hash bytea NOT NULL
) WITH (fillfactor = 70);

-- Rows are added and never changed, by nobody, except that `audit_erase` (004) empties the content of a row and nothing else of it.
CREATE OR REPLACE FUNCTION audit_logs_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  v_row audit_logs;
BEGIN
  IF TG_OP = 'UPDATE' AND current_setting('conductor.audit_erase', true) = 'on' THEN
    v_row := OLD;
    v_row.input_params := NULL;
    v_row.output_summary := NULL;
    v_row.target_entity := NULL;
    v_row.error_message := NULL;
    v_row.salt := NULL;
    v_row.erased_at := NEW.erased_at;
    IF OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL AND v_row IS NOT DISTINCT FROM NEW THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'audit_logs is append-only: % is refused', TG_OP
    USING ERRCODE = 'insufficient_privilege', HINT = 'To forget a person, call audit_erase as service_role.';
END $$;
CREATE OR REPLACE TRIGGER audit_logs_append_only BEFORE UPDATE OR DELETE ON audit_logs
  FOR EACH ROW EXECUTE FUNCTION audit_logs_refuse();
CREATE OR REPLACE TRIGGER audit_logs_no_truncate BEFORE TRUNCATE ON audit_logs
  FOR EACH STATEMENT EXECUTE FUNCTION audit_logs_refuse();

-- Tool executions ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS tool_executions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id text NOT NULL,
  audit_log_id uuid REFERENCES audit_logs (id) ON DELETE CASCADE,
  session_id text,
  run_id text,
  call_id text,
  tool_name text NOT NULL,
  input_json jsonb NOT NULL,
  output_json jsonb,
  started_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  retry_count integer NOT NULL DEFAULT 0,
  tokens_used integer,
  api_calls_made integer NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS tool_executions_audit_log_id ON tool_executions (audit_log_id);
CREATE INDEX IF NOT EXISTS tool_executions_org_id ON tool_executions (org_id);
CREATE INDEX IF NOT EXISTS tool_executions_run_id ON tool_executions (run_id, call_id) WHERE run_id IS NOT NULL;

-- Leads -------------------------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS leads (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id text NOT NULL,
  external_id text,
  source_project text NOT NULL,
  oem_brand text,
  zip_code text,
  company_name text NOT NULL,
  domain text,
  phone text,
  email text,
  -- {street, city, state, zip, lat, lng}
  address jsonb,
  stage text NOT NULL DEFAULT 'scraped',
  enriched_at timestamptz,
  employee_count integer,
  revenue_range text,
  linkedin_url text,
  -- [{name, title, email, phone, linkedin}]
  contacts jsonb,
  license_validated_at timestamptz,
  license_status text CHECK (license_status IN ('valid', 'expired', 'revoked', 'unknown')),
  license_number text,
  license_expiry date,
  qualified_at timestamptz,
  qualification_score integer CHECK (qualification_score BETWEEN 0 AND 100),
  qualification_reasons jsonb,
  contacted_at timestamptz,
  last_outreach_channel text CHECK (last_outreach_channel IN ('email', 'sms', 'linkedin')),
  outreach_count integer NOT NULL DEFAULT 0,
  crm_synced_at timestamptz,
  crm_type text CHECK (crm_type IN ('close', 'hubspot', 'apollo')),
  crm_id text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (org_id, external_id)
);
CREATE INDEX IF NOT EXISTS leads_source_project ON leads (source_project);
CREATE INDEX IF NOT EXISTS leads_stage ON leads (stage);
CREATE INDEX IF NOT EXISTS leads_score ON leads (qualification_score DESC) WHERE qualified_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS leads_oem_brand ON leads (oem_brand);
CREATE INDEX IF NOT EXISTS leads_zip_code ON leads (zip_code);

CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at = now();
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER leads_updated_at BEFORE UPDATE ON leads
  FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- Views: each shows what row-level security shows to whoever asks ---------------------------------------------------------------------

CREATE OR REPLACE VIEW recent_failures WITH (security_invoker = true) AS
  SELECT id, org_id, "timestamp", session_id, action, tool_name, source_project, target_entity, error_message, duration_ms
  FROM audit_logs
  WHERE success = false
  ORDER BY "timestamp" DESC
  LIMIT 100;

CREATE OR REPLACE VIEW lead_pipeline WITH (security_invoker = true) AS
  SELECT org_id, stage, count(*) AS lead_count, round(avg(qualification_score), 1) AS avg_score, count(DISTINCT oem_brand) AS oem_count
  FROM leads
  GROUP BY org_id, stage
  ORDER BY org_id, coalesce(
    array_position(ARRAY['scraped', 'enriched', 'validated', 'qualified', 'contacted', 'synced', 'won', 'lost'], stage), 99
  );

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
  WHERE "timestamp" > now() - interval '7 days' AND action NOT IN ('model_attempt', 'approval', 'command', 'run', 'erase')
  GROUP BY org_id, tool_name, source_project;

-- Who may see and do what -------------------------------------------------------------------------------------------------------------

-- service_role: everything. authenticated: the rows of its organisation; leads it may change, the trail it may only read. anon: nothing.
DO $$
DECLARE
  t text;
  own text := 'org_id = (SELECT auth.jwt() ->> ''org_id'')';
BEGIN
  FOREACH t IN ARRAY ARRAY['audit_logs', 'audit_heads', 'tool_executions', 'leads'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('DROP POLICY IF EXISTS %I ON %I', t || '_service', t);
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL TO service_role USING (true) WITH CHECK (true)', t || '_service', t);
    EXECUTE format('DROP POLICY IF EXISTS %I ON %I', t || '_own', t);
    EXECUTE format('REVOKE ALL ON %I FROM anon, authenticated', t);
    EXECUTE format('GRANT ALL ON %I TO service_role', t);
    IF t = 'audit_logs' THEN
      -- What was written stays, also for service_role; audit_erase (004) empties content with the rights of the owner.
      REVOKE UPDATE, DELETE, TRUNCATE ON audit_logs FROM service_role;
    END IF;
    IF t = 'leads' THEN
      EXECUTE format('CREATE POLICY %I ON %I FOR ALL TO authenticated USING (%s) WITH CHECK (%s)', t || '_own', t, own, own);
      EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO authenticated', t);
    ELSE
      EXECUTE format('CREATE POLICY %I ON %I FOR SELECT TO authenticated USING (%s)', t || '_own', t, own);
      EXECUTE format('GRANT SELECT ON %I TO authenticated', t);
    END IF;
  END LOOP;
  FOREACH t IN ARRAY ARRAY['recent_failures', 'lead_pipeline', 'tool_usage_stats'] LOOP
    EXECUTE format('REVOKE ALL ON %I FROM anon, authenticated', t);
    EXECUTE format('GRANT SELECT ON %I TO authenticated, service_role', t);
  END LOOP;
END $$;
