-- Tells every edge to forget what it knows about a subject. Edges ask for ids after the last one they saw, so ids must
-- appear in order: the lock is held until commit, and whoever revokes next takes its id afterwards.
create or replace function vendors.revoke(kind text, subject text, at timestamptz) returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtext('vendors.revocations'));
  insert into vendors.revocations (kind, subject, at) values (kind, subject, at);
end
$$;
