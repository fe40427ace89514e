import { sql, type RawBuilder } from 'kysely';
import { inTransaction, type Db, type Tx } from './database.ts';
import { schemas } from './migrate.ts';

/**
 * What is in our schemas, as SQL for a reader: a migration is reviewed as the change it makes to this text. Taken from
 * the catalogs, so that it needs no pg_dump, and the same on every PostgreSQL version; therefore views are shown by
 * their columns and what they read, and functions by their signatures (their text is in `functions/`).
 */
export const dumpSchema = (db: Db): Promise<string> =>
  inTransaction(db, async (tx) => {
    // So that every name is shown with its schema.
    await sql`set local search_path = pg_catalog`.execute(tx);
    const parts: string[] = [];
    for (const schema of [...schemas].sort()) parts.push(await dumpOne(tx, schema));
    return `${header}\n${parts.filter((part) => part !== '').join('\n\n\n')}\n`;
  });

const dumpOne = async (tx: Tx, schema: string): Promise<string> => {
  const parts: string[] = [];
  for (const query of [created, types, tables, views, functions]) {
    const { rows } = await query(schema).execute(tx);
    if (rows.length > 0)
      parts.push(rows.map(({ line }) => line).join(query === tables || query === views ? '\n\n' : '\n'));
  }
  return parts.join('\n\n');
};

const header =
  '-- Made from a migrated database; see schema-dump.ts. Change the migrations and functions, not this file.\n';

type Lines = (schema: string) => RawBuilder<{ line: string }>;

/** `grant select, update (posted, version) on … to …`: one line a role, without the owner's own rights. */
const grantLines = (grants: RawBuilder<unknown>, object: RawBuilder<unknown>): RawBuilder<string> => sql`
  (select string_agg(line, e'\n' order by line) from (
     select format('grant %s on %s to %s;', string_agg(right_name, ', ' order by right_name), ${object}, role_name) as line
       from (select case acl.grantee when 0 then 'public' else pg_get_userbyid(acl.grantee)::text end as role_name,
                    lower(acl.privilege_type)
                      || coalesce(' (' || string_agg(given.column_name, ', ' order by given.column_name) || ')', '') as right_name
               from (${grants}) as given (acls, column_name, owner), aclexplode(given.acls) acl
              where acl.grantee <> given.owner
              group by acl.grantee, acl.privilege_type, given.column_name is null) rights
      group by role_name) roles)`;

const created: Lines = (schema) => sql`
  select concat_ws(e'\n', format('create schema %I;', nspname),
                   ${grantLines(sql`select nspacl, null, nspowner`, sql`'schema ' || nspname`)}) as line
    from pg_namespace where nspname = ${schema}`;

const types: Lines = (schema) => sql`
  select case t.typtype
           when 'e' then format('create type %s as enum (%s);', t.oid::regtype,
             (select string_agg(quote_literal(enumlabel), ', ' order by enumsortorder) from pg_enum where enumtypid = t.oid))
           when 'd' then format('create domain %s as %s%s;', t.oid::regtype, format_type(t.typbasetype, t.typtypmod),
             (select string_agg(' ' || pg_get_constraintdef(oid), '' order by conname) from pg_constraint
               where contypid = t.oid and contype = 'c'))
           else format('create type %s as (%s);', t.oid::regtype,
             (select string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' order by attnum)
                from pg_attribute where attrelid = t.typrelid and attnum > 0 and not attisdropped))
         end as line
    from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
   where n.nspname = ${schema} and (t.typtype in ('e', 'd') or c.relkind = 'c')
   order by t.typname collate "C"`;

const columns = sql`
  (select string_agg(format('  %I %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
            case when a.attnotnull then ' not null' end,
            case when a.attidentity <> '' then ' generated as identity'
                 when a.attgenerated <> '' then format(' generated always as (%s) stored', pg_get_expr(d.adbin, d.adrelid))
                 when d.adbin is not null then ' default ' || pg_get_expr(d.adbin, d.adrelid) end), e',\n' order by a.attnum)
     from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)`;

// PostgreSQL 18 also lists "not null" as a constraint (n); the columns say it already.
const constraints = sql`
  (select string_agg(format(e',\n  constraint %I %s', conname, pg_get_constraintdef(oid, true)), ''
            order by contype = 'c', contype, conname collate "C")
     from pg_constraint where conrelid = c.oid and contype in ('p', 'u', 'f', 'c', 'x'))`;

const indexes = sql`
  (select string_agg(pg_get_indexdef(i.indexrelid) || ';', e'\n' order by i.indexrelid::regclass::text collate "C")
     from pg_index i where i.indrelid = c.oid
      and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')))`;

const triggers = sql`
  (select string_agg(pg_get_triggerdef(oid) || ';', e'\n' order by tgname collate "C")
     from pg_trigger where tgrelid = c.oid and not tgisinternal)`;

const relationGrants = grantLines(
  sql`select c.relacl, null, c.relowner union all
      select a.attacl, quote_ident(a.attname), c.relowner from pg_attribute a where a.attrelid = c.oid and a.attacl is not null`,
  sql`c.oid::regclass`,
);

const tables: Lines = (schema) => sql`
  select concat_ws(e'\n',
           format(e'create table %s (\n%s%s\n)%s;', c.oid::regclass, ${columns}, ${constraints},
                  ' with (' || array_to_string(c.reloptions, ', ') || ')'),
           ${indexes}, ${triggers}, ${relationGrants}) as line
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = ${schema} and c.relkind in ('r', 'p')
   order by c.relname collate "C"`;

const views: Lines = (schema) => sql`
  select concat_ws(e'\n',
           format(e'create view %s%s (\n%s\n) as select … from %s;', c.oid::regclass,
                  ' with (' || array_to_string(c.reloptions, ', ') || ')', ${columns},
                  (select string_agg(distinct used.refobjid::regclass::text, ', ')
                     from pg_rewrite r join pg_depend used on used.classid = 'pg_rewrite'::regclass and used.objid = r.oid
                    where r.ev_class = c.oid and used.refclassid = 'pg_class'::regclass and used.refobjid <> c.oid)),
           ${relationGrants}) as line
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = ${schema} and c.relkind in ('v', 'm')
   order by c.relname collate "C"`;

const functions: Lines = (schema) => sql`
  select format('create function %I.%I(%s) returns %s language %s %s%s%s;', n.nspname, p.proname,
                pg_get_function_arguments(p.oid), coalesce(pg_get_function_result(p.oid), 'nothing'), l.lanname,
                case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
                case when p.prosecdef then ' security definer' end,
                (select string_agg(' set ' || setting, '' order by setting collate "C") from unnest(p.proconfig) setting)) as line
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
   where n.nspname = ${schema}
   order by p.proname collate "C", pg_get_function_identity_arguments(p.oid) collate "C"`;
