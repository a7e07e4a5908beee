-- Tenants: what organisations and their keys need beyond 002. Runs as it is in the Supabase SQL editor; applying it twice is harmless.

-- How many days finished runs are kept at least, where `conductor prune` is told nothing else; null keeps them for good.
ALTER TABLE organizations ADD COLUMN IF NOT EXISTS retention_days integer CHECK (retention_days > 0);

-- Who made a key, who revoked it, and how many requests a minute it may make; null is the default of the server.
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS created_by text;
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS revoked_by text;
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS requests_per_minute integer CHECK (requests_per_minute > 0);
GRANT SELECT (created_by, revoked_by, requests_per_minute) ON api_keys TO authenticated;

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
