-- A cheaper flush: what it is given is read once, budgets are settled and reserved with less work for each append, and the audit trail
-- keeps the indexes that are asked for. Runs as it is in the Supabase SQL editor; applying it twice is harmless.

-- Why a parked run waits; null unless it is parked.
ALTER TABLE runs ADD COLUMN IF NOT EXISTS parked_reason text;

-- The trail is read by organisation, by run, by session and by target, and by number within an organisation; its failures by time. What
-- else is asked of it is asked of one organisation's rows. Every index is written for every row.
DROP INDEX IF EXISTS audit_logs_tool_name;

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
DROP TRIGGER IF EXISTS conductor_forget_executions ON audit_logs;
CREATE TRIGGER conductor_forget_executions AFTER DELETE ON audit_logs REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION conductor_forget_executions();

