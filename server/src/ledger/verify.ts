import { sql } from 'kysely';
import type { Db } from '../lib/database.ts';
import { firstDifference, type Finding } from '../lib/finding.ts';

/** Recomputes the ledger from its transfers and entries: every rule of double entry, and every balance. */
export const verifyLedger = async (db: Db): Promise<Finding[]> => [
  await transfersBalance(db),
  await entriesBelongToTransfers(db),
  await entriesChain(db),
  await balancesFollow(db),
  await holdsFollow(db),
  await endingsFollow(db),
  await transfersAreJournaled(db),
];

const transfersBalance = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'every transfer sums to zero per currency, within one tenant',
    sql`ledger.transfers`,
    sql`
      select 'transfer' as kind, t.id,
             case when bool_or(e.amount is null) then 'an entry is missing'
                  when bool_or(a.tenant_id <> t.tenant_id) then 'it moves money of another tenant'
                  else 'its entries in ' || a.currency || ' sum to ' || sum(e.amount) end as found
      from ledger.transfers t
      cross join lateral unnest(t.account_ids, t.versions) as p(account_id, version)
      left join ledger.entries e on e.account_id = p.account_id and e.version = p.version and e.transfer_id = t.id
      left join ledger.accounts a on a.id = p.account_id
      group by t.id, a.currency
      having sum(e.amount) <> 0 or bool_or(e.amount is null) or bool_or(a.tenant_id is distinct from t.tenant_id)
    `,
  );

const entriesBelongToTransfers = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'every entry is named by its transfer',
    sql`ledger.entries`,
    sql`
      select 'account' as kind, e.account_id as id,
             'entry ' || e.version || case when e.created_at <> t.created_at then ' is not of the time of its transfer'
                                           else ' is in no transfer' end as found
      from ledger.entries e
      left join ledger.transfers t on t.id = e.transfer_id
      where t.id is null or e.created_at <> t.created_at
         or not exists (select from unnest(t.account_ids, t.versions) p(account_id, version)
                        where p.account_id = e.account_id and p.version = e.version)
    `,
  );

const entriesChain = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    "an account's entries count from 1 without gaps and carry its running balance",
    sql`ledger.entries`,
    sql`
      select 'account' as kind, account_id as id,
             case when version <> expected_version then 'entry ' || expected_version || ' is missing'
                  else 'entry ' || version || ' says balance ' || balance || ', the entries before make ' || expected end as found
      from (select account_id, version, balance,
                   row_number() over account as expected_version,
                   sum(amount) over account as expected
            from ledger.entries
            window account as (partition by account_id order by version rows unbounded preceding)) e
      where version <> expected_version or balance <> expected
    `,
  );

const balancesFollow = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'every balance equals its entries and is where it may be',
    sql`ledger.accounts`,
    sql`
      select 'account' as kind, a.id,
             case when a.non_negative and a.posted - a.reserved < 0 then 'it is below zero'
                  else 'balance ' || a.posted || ' after ' || a.version || ' entries, the entries make '
                       || coalesce(e.total, 0) || ' after ' || coalesce(e.count, 0) end as found
      from ledger.accounts a
      left join (select account_id, sum(amount) as total, count(*) as count from ledger.entries group by account_id) e
        on e.account_id = a.id
      where a.posted <> coalesce(e.total, 0) or a.version <> coalesce(e.count, 0)
         or (a.non_negative and a.posted - a.reserved < 0)
      union all
      select 'account', e.account_id, 'it is missing, and has ' || count(*) || ' entries'
      from ledger.entries e left join ledger.accounts a on a.id = e.account_id
      where a.id is null group by e.account_id
    `,
  );

const holdsFollow = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'pending and reserved equal the open holds, and no hold gave more than it held',
    sql`ledger.holds`,
    sql`
      with open as (
        select h.* from ledger.holds h left join ledger.hold_endings e on e.hold_id = h.id where e.hold_id is null
      )
      select 'account' as kind, a.id,
             'pending ' || a.pending || ' and reserved ' || a.reserved || ', open holds make '
             || coalesce(c.held, 0) || ' and ' || coalesce(d.held, 0) as found
      from ledger.accounts a
      left join (select credit_account_id as id, sum(amount) as held from open group by 1) c using (id)
      left join (select debit_account_id as id, sum(amount) as held from open group by 1) d using (id)
      where a.pending <> coalesce(c.held, 0) or a.reserved <> coalesce(d.held, 0)
      union all
      select 'hold', e.hold_id, 'captured ' || e.captured || ' of ' || coalesce(h.amount, 0)
      from ledger.hold_endings e left join ledger.holds h on h.id = e.hold_id
      where h.id is null or e.captured > h.amount
    `,
  );

const endingsFollow = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'a hold ended with the transfer that captured it, or with nothing',
    sql`ledger.hold_endings`,
    sql`
      select 'hold' as kind, e.hold_id as id,
             case when h.id is null then 'it is missing, and has an ending'
                  when e.transfer_id is null then 'it was ended at another time than the journal says'
                  else 'captured ' || e.captured || ', which no transfer of its object took then' end as found
      from ledger.hold_endings e
      left join ledger.holds h on h.id = e.hold_id
      where h.id is null
         or not exists (select from journal.entries j where j.object_id = h.object_id and j.timestamp = e.created_at)
         or (e.transfer_id is not null and not exists (
               select from ledger.transfers t
               cross join lateral unnest(t.account_ids, t.versions) as p(account_id, version)
               join ledger.entries n on n.account_id = p.account_id and n.version = p.version
               where t.id = e.transfer_id and t.object_id = h.object_id and t.created_at = e.created_at
                 and p.account_id = h.debit_account_id and n.amount = -e.captured))
    `,
  );

const transfersAreJournaled = (db: Db): Promise<Finding> =>
  firstDifference(
    db,
    'every transfer has its journal entry',
    sql`ledger.transfers`,
    sql`
      select 'transfer' as kind, t.id, 'no journal entry tells of it' as found
      from ledger.transfers t
      where not exists (select from journal.entries e where e.transfer_id = t.id)
    `,
  );
