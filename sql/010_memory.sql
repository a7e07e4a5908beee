-- What agents remember from one run to the next, and how it is forgotten. Runs as it is in the Supabase SQL editor; applying it twice is
-- harmless.

CREATE TABLE IF NOT EXISTS memories (
  id text PRIMARY KEY,
  org_id text NOT NULL,
  -- Whose it is: `org`, `agent:NAME` or `user:ID`.
  scope text NOT NULL CHECK (scope = 'org' OR scope ~ '^(agent|user):.'),
  text text NOT NULL,
  -- What it is found by. Words that are not English are found as they are written.
  words tsvector GENERATED ALWAYS AS (to_tsvector('pg_catalog.english', text)) STORED,
  -- The run and the call that it was remembered in; null for what was told from outside.
  source_run text,
  source_call text,
  -- The same for every attempt to remember this once.
  dedupe text NOT NULL,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz,
  UNIQUE (org_id, dedupe)
);
CREATE INDEX IF NOT EXISTS memories_words ON memories USING gin (words);
CREATE INDEX IF NOT EXISTS memories_scope ON memories (org_id, scope, id DESC);
CREATE INDEX IF NOT EXISTS memories_expiring ON memories (expires_at) WHERE expires_at IS NOT NULL;

-- What is to be forgotten and is not yet: the log of a run that is under way is left alone until the run is over. `texts` is a JSON array
-- of what has to go, and goes with this row; `runs` are those that are waited for, null as long as nobody has looked for them.
CREATE TABLE IF NOT EXISTS memory_erasures (
  id text PRIMARY KEY,
  org_id text NOT NULL,
  texts jsonb NOT NULL,
  runs text[],
  requested_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS memory_erasures_org ON memory_erasures (org_id, id);

-- Puts other payloads in the place of events and commands of a run that is over, for what is in them is to be forgotten, and appends a row to
-- the audit trail that says which and by whom, not what. Sequence numbers, times and kinds of events stay as they are; payloads stay JSON.
-- `p_comments` are requests for approval whose comments go, `p_digests` those whose hash goes: what it was made of could be guessed from it.
-- So could what the run was started with, where that is changed. Answers false, and does nothing, where the run is not over or not there.
CREATE OR REPLACE FUNCTION conductor_redact(
  p_org text, p_by text, p_run text, p_seqs integer[], p_payloads text[], p_commands text[], p_command_payloads text[], p_comments text[],
  p_digests text[] DEFAULT '{}'
) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_count bigint;
BEGIN
  -- A run that has failed can be retried: then it is performed again, and waits.
  PERFORM 1 FROM runs WHERE id = p_run AND org_id = p_org AND ended_at IS NOT NULL FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN false; END IF;
  -- What is not JSON fails here, and nothing is changed.
  PERFORM p::json FROM unnest(p_payloads || p_command_payloads) AS u (p);
  UPDATE run_events e SET payload = n.payload
  FROM unnest(p_seqs, p_payloads) AS n (seq, payload) WHERE e.run_id = p_run AND e.seq = n.seq AND (n.payload::json ->> '_tag') = e.tag;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  IF v_count <> cardinality(p_seqs) THEN
    RAISE EXCEPTION 'conductor_redact changes what is said in events of run %, not which events there are', p_run
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE run_inbox i SET payload = n.payload, dedupe = i.id
  FROM unnest(p_commands, p_command_payloads) AS n (id, payload) WHERE i.run_id = p_run AND i.id = n.id;
  UPDATE approvals SET comment = '[FORGOTTEN]' WHERE run_id = p_run AND id = ANY (p_comments);
  UPDATE approvals SET digest = '[FORGOTTEN]' WHERE run_id = p_run AND id = ANY (p_digests);
  IF 1 = ANY (p_seqs) THEN UPDATE requests SET fingerprint = '[FORGOTTEN]' WHERE org_id = p_org AND run_id = p_run; END IF;
  PERFORM conductor_project_audit(jsonb_build_array(jsonb_build_object(
    'org_id', p_org, 'at', (extract(epoch FROM clock_timestamp()) * 1000)::bigint, 'event', 'ContentErased', 'action', 'erase',
    'tool_name', 'run_redact', 'principal', p_by, 'success', true, 'run_id', p_run,
    'input_params', jsonb_build_object('events', to_jsonb(p_seqs), 'commands', to_jsonb(p_commands), 'approvals', to_jsonb(p_comments)))));
  RETURN true;
END
$$;

DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['memories', 'memory_erasures'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('DROP POLICY IF EXISTS %I ON %I', t || '_service', t);
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL TO service_role USING (true) WITH CHECK (true)', t || '_service', t);
    EXECUTE format('REVOKE ALL ON %I FROM anon, authenticated', t);
    EXECUTE format('GRANT ALL ON %I TO service_role', t);
  END LOOP;
  -- What is about to be forgotten is for the service alone.
  DROP POLICY IF EXISTS memories_own ON memories;
  CREATE POLICY memories_own ON memories FOR SELECT TO authenticated USING (org_id = (SELECT auth.jwt() ->> 'org_id'));
  GRANT SELECT ON memories TO authenticated;
  REVOKE ALL ON FUNCTION conductor_redact(text, text, text, integer[], text[], text[], text[], text[], text[]) FROM PUBLIC, anon, authenticated;
  GRANT EXECUTE ON FUNCTION conductor_redact(text, text, text, integer[], text[], text[], text[], text[], text[]) TO service_role;
END
$$;
