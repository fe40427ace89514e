import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import { firstDifference, type Finding } from '../lib/finding.ts';

/** Compares reconciliations and what was corrected with the ledger and with their journal. */
export const verifyReconciliations = async (db: Db): Promise<Finding[]> => [
  await correctionsPosted(db),
  await correctionsAddUp(db),
  await runsMatchJournal(db),
];

/** In both directions: also a transfer that no correction made is found. */
const correctionsPosted = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'every correction posted what its break asks for, once, and nothing else is called a correction',
    sql`reconciliation.corrections`,
    sql`
      with asked as (
        select c.transfer_id as id, c.tenant_id, c.run_id, s.currency, c.connector, c.against, c.created_at, sum(s.amount) as amount
        from reconciliation.corrections c
        join reconciliation.breaks b using (tenant_id, run_id, number)
        cross join lateral (
          values (b.there_currency, case when b.there_status = 'succeeded' then b.there_amount end),
                 (b.here_currency, case when b.here_status = 'succeeded' then -b.here_amount end)
        ) v(currency, amount)
        cross join lateral (select v.currency, case b.kind when 'charge' then -v.amount else v.amount end as amount) s
        where s.amount is not null
        group by 1, 2, 3, 4, 5, 6, 7
        having sum(s.amount) <> 0
      ), wanted as (
        select id, tenant_id, run_id, currency, created_at, 'external:' || connector as code, amount from asked
        union all
        select id, tenant_id, run_id, currency, created_at, against, -amount from asked
      ), posted as (
        select t.id, t.tenant_id, t.object_id as run_id, a.currency, t.created_at, a.code, e.amount
        from ledger.transfers t
        join ledger.entries e on e.transfer_id = t.id
        join ledger.accounts a on a.id = e.account_id
        where t.kind = 'correction'
      )
      select 'transfer' as kind, id,
             code || ' in ' || currency || ': ' || coalesce(p.amount::text, 'nothing') || ' was posted, the break asks for '
             || coalesce(w.amount::text, 'nothing') as found
      from wanted w full join posted p using (id, tenant_id, run_id, currency, created_at, code)
      where w.amount is distinct from p.amount
    `,
  );

const correctionsAddUp = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'reconciliations count their breaks and corrections',
    sql`reconciliation.runs`,
    sql`
      with counted as (
        select b.tenant_id, b.run_id as id, count(*) as breaks, count(c.number) as corrected, max(b.number) as last
        from reconciliation.breaks b left join reconciliation.corrections c using (tenant_id, run_id, number)
        group by 1, 2
      ), typed as (
        select tenant_id, run_id as id, jsonb_object_agg(type, count) as types
        from (select tenant_id, run_id, type, count(*) as count from reconciliation.breaks group by 1, 2, 3) t group by 1, 2
      ), lost as (
        select c.tenant_id, c.run_id as id from reconciliation.corrections c
        where not exists (select from reconciliation.breaks b
                          where b.tenant_id = c.tenant_id and b.run_id = c.run_id and b.number = c.number)
      )
      select 'reconciliation' as kind, id,
             coalesce(r.breaks || ' breaks, ' || r.corrected || ' corrected', 'missing') || ', its rows make '
             || coalesce(c.breaks, 0) || ' and ' || coalesce(c.corrected, 0) as found
      from reconciliation.runs r
      full join counted c using (tenant_id, id)
      full join typed t using (tenant_id, id)
      full join lost l using (tenant_id, id)
      where r.breaks is distinct from coalesce(c.breaks, 0) or r.corrected is distinct from coalesce(c.corrected, 0)
         or c.last is distinct from nullif(r.breaks, 0) or r.types is distinct from coalesce(t.types, '{}')
    `,
  );

/** The last entry that shows the run itself, not a break of it, and every correction's own. */
const runsMatchJournal = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'reconciliations and their corrections are what the journal says',
    sql`reconciliation.runs`,
    sql`
      with told as (
        select object_id as id, tenant_id, max(object_version) as version,
               (array_agg(snapshot order by object_version) filter (where kind = 'reconciliation.completed'))[1] as first
        from journal.entries where object_type = 'reconciliation' and object_version is not null group by 1, 2
      )
      select 'reconciliation' as kind, id,
             coalesce('version ' || r.version, 'missing') || ', its journal says ' || coalesce('version ' || t.version, 'nothing') as found
      from reconciliation.runs r full join told t using (tenant_id, id)
      where r.version is distinct from t.version or r.connector is distinct from t.first ->> 'connector'
         or encode(r.digest, 'hex') is distinct from t.first ->> 'statement_sha256'
         or r.lines::text is distinct from t.first ->> 'lines' or r.matched::text is distinct from t.first ->> 'matched'
         or r.breaks::text is distinct from t.first ->> 'breaks'
      union all
      select 'reconciliation', c.run_id, 'the correction of break ' || c.number || ' is not what its journal entry says'
      from reconciliation.corrections c
      where not exists (
        select from journal.entries e
        where e.object_id = c.run_id and e.tenant_id = c.tenant_id and e.kind = 'reconciliation.corrected'
          and e.transfer_id = c.transfer_id and e.actor = c.actor and e.snapshot ->> 'number' = c.number::text
          and e.snapshot -> 'correction' ->> 'reason' = c.reason and e.snapshot -> 'correction' ->> 'against' = c.against)
    `,
  );
