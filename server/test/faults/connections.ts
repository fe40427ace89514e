import { sql } from 'kysely';
import pg from 'pg';
import { clientConfig, type Db } from '../../src/lib/database.ts';
import type { Postgres } from '../crash/postgres.ts';

/** Others than the services that are connected, as many as there may be connections at all. */
const othersMax = 5;

/** Takes every connection that the database has, those of the services too; gives them back when what it gives is called. */
export const takeConnections = async (postgres: Postgres, superuser: Db): Promise<() => Promise<void>> => {
  const others = Array.from(
    { length: othersMax },
    () => new pg.Client(clientConfig(postgres.connectionAs('florin_migrate'), 'others')),
  );
  await Promise.all(others.map((client) => client.connect()));
  await limit(superuser, othersMax);
  await sql`
    select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'florin_service'
  `.execute(superuser);
  return async () => {
    await limit(superuser, -1);
    await Promise.all(others.map((client) => client.end()));
  };
};

/** More connections than so many are refused as those over `max_connections` are; -1 is no limit. */
const limit = (superuser: Db, max: number): Promise<unknown> =>
  sql`alter database florin connection limit ${sql.lit(max)}`.execute(superuser);
