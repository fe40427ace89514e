-- The three roles. They belong to the whole cluster while migrations run per database: another database, or the
-- administrator of a managed server, may have made them before, even at this very moment.
--   florin_service      what services connect as; no DDL, and only the rights that each migration grants
--   florin_maintenance  retention and other clearing up
--   florin_migrate      owns everything

do $$
declare
  wanted text;
begin
  foreach wanted in array array['florin_service', 'florin_maintenance', 'florin_migrate'] loop
    continue when exists (select from pg_roles where rolname = wanted);
    begin
      -- Without a password nobody can sign in as it: the administrator sets one, or makes other users members of it.
      execute format('create role %I login', wanted);
    exception
      when duplicate_object or unique_violation then
        null;
      when insufficient_privilege then
        raise exception 'The role % does not exist and % may not create it.', wanted, current_user
          using errcode = 'insufficient_privilege',
                hint = format('As an administrator of the server run: create role %I login password ''…'';', wanted);
    end;
  end loop;
end
$$;

-- Who may create roles need not be a member of them. The same grant at the same moment from another database is as good.
do $$
begin
  if current_user <> 'florin_migrate' and not (select rolsuper from pg_roles where rolname = current_user) then
    execute format('grant florin_migrate to %I', current_user);
  end if;
exception
  when insufficient_privilege or unique_violation or internal_error then
    null;
end
$$;

-- The owner of the database, or an administrator, lets them in.
do $$
begin
  execute format('grant connect on database %I to florin_service, florin_maintenance, florin_migrate', current_database());
  execute format('grant create on database %I to florin_migrate', current_database());
exception
  when insufficient_privilege then
    null;
end
$$;

grant usage on schema florin to florin_service, florin_maintenance, florin_migrate;
grant select on florin.migrations to florin_service, florin_maintenance, florin_migrate;

-- Hands over to florin_migrate where the current user may, so that it makes no difference who migrates next. Elsewhere
-- (a managed server where the current user is not a member of it) the current user goes on and owns everything.
do $$
declare
  may_set_role text := case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end;
begin
  if current_user <> 'florin_migrate'
     and pg_has_role('florin_migrate', may_set_role)
     and has_database_privilege('florin_migrate', current_database(), 'create') then
    alter schema florin owner to florin_migrate;
    alter table florin.migrations owner to florin_migrate;
    set role florin_migrate;
  end if;
end
$$;
