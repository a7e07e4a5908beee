-- Requests that carry a key, so that the same request is carried out once. Runs as it is in the Supabase SQL editor; applying it twice
-- is harmless.
CREATE TABLE IF NOT EXISTS requests (
  org_id text NOT NULL,
  key text NOT NULL,
  -- SHA-256, in hex, of what was asked for.
  fingerprint text NOT NULL,
  run_id text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, key)
);
CREATE INDEX IF NOT EXISTS requests_old ON requests (created_at);

ALTER TABLE requests ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS requests_service ON requests;
CREATE POLICY requests_service ON requests FOR ALL TO service_role USING (true) WITH CHECK (true);
REVOKE ALL ON requests FROM anon, authenticated;
GRANT ALL ON requests TO service_role;
