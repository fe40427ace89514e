-- What names a line in this and in any other statement: what it says that it is, and the how-manieth of its kind it is.
create or replace function reconciliation.facts_of(run uuid) returns table (line integer, fact text)
language sql stable as $$
  select l.line,
         jsonb_build_array(l.kind, l.reference, l.backend_reference,
                           row_number() over (partition by l.kind, l.reference, l.backend_reference order by l.line))::text
  from reconciliation.lines l
  where l.run_id = run;
$$;
