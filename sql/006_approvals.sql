-- Requests for approval as the flush keeps them. Runs as it is in the Supabase SQL editor; applying it twice is harmless.

ALTER TABLE approvals DROP CONSTRAINT IF EXISTS approvals_status_check;
ALTER TABLE approvals ADD CONSTRAINT approvals_status_check
  CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'withdrawn'));
-- A model may use the id of a call again in a later turn; the request's own id is of the turn.
ALTER TABLE approvals DROP CONSTRAINT IF EXISTS approvals_run_id_call_id_key;
CREATE INDEX IF NOT EXISTS approvals_run ON approvals (run_id);
-- Names the rule by which the tool needs approval.
ALTER TABLE approvals ADD COLUMN IF NOT EXISTS policy text;

-- A row is {append, kind: 'ask', id, org, run, call, tool, digest, policy?, expires, at} or
-- {append, kind: 'end', id, status, at, person?, comment?}; times are milliseconds since 1970. A retried run asks again.
CREATE OR REPLACE FUNCTION conductor_project_approvals(p_rows jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_row record;
BEGIN
  FOR v_row IN
    SELECT * FROM ROWS FROM (jsonb_to_recordset(p_rows) AS (kind text, id text, org text, run text, call text, tool text, digest text,
      policy text, expires bigint, at bigint, status text, person text, comment text)) WITH ORDINALITY AS r (kind, id, org, run, call,
      tool, digest, policy, expires, at, status, person, comment, k)
    ORDER BY k
  LOOP
    IF v_row.kind = 'ask' THEN
      INSERT INTO approvals (id, org_id, run_id, call_id, tool, digest, policy, status, expires_at, created_at)
      VALUES (v_row.id, v_row.org, v_row.run, v_row.call, v_row.tool, v_row.digest, v_row.policy, 'pending',
        to_timestamp(v_row.expires / 1000.0), to_timestamp(v_row.at / 1000.0))
      ON CONFLICT (id) DO UPDATE SET status = 'pending', digest = excluded.digest, policy = excluded.policy,
        expires_at = excluded.expires_at, created_at = excluded.created_at, decided_by = NULL, decided_at = NULL, comment = NULL;
    ELSE
      UPDATE approvals SET status = v_row.status, decided_by = v_row.person, decided_at = to_timestamp(v_row.at / 1000.0), comment = v_row.comment
      WHERE id = v_row.id AND status = 'pending';
    END IF;
  END LOOP;
END
$$;

DO $$
BEGIN
  REVOKE ALL ON FUNCTION conductor_project_approvals(jsonb) FROM PUBLIC, anon, authenticated;
  GRANT EXECUTE ON FUNCTION conductor_project_approvals(jsonb) TO service_role;
END
$$;
