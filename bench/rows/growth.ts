import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { emptyPayments, storePayments } from '../fill.ts';
import { openClient } from '../load/client.ts';
import { runForJson, scriptOf } from '../load/load.ts';
import type { Read, ReadsReport } from '../load/reads.ts';
import type { Service } from '../services.ts';
import {
  commonDatabase,
  measured,
  payOnceEach,
  paymentsPerSecond,
  tally,
  type Sample,
  type Stage,
} from '../stage.ts';

/** A database with so many payments, and the service that has been connected to it since it had none. */
export type Grown = { database: string; service: Service; stored: number; readsFile: string };

export type Growth = { few: Grown; many: Grown };

const fewStored = 10_000;

/** How much of the list a vendor needs so that a page is full in both databases: see fill.sql for who has how many. */
const readers = 12;

/** The two databases of the growth rows, made before anything else is stored. */
export const copyForGrowth = async ({ postgres }: Stage): Promise<void> => {
  for (const name of ['few', 'many']) await postgres.copy(commonDatabase, name);
};

/**
 * Fills both databases under the connections of their services: these are opened while there is no payment, and take
 * payments when there are ten thousand, so that whatever PostgreSQL planned then is what it uses at five million.
 */
export const prepareGrowth = async (stage: Stage, log: (line: string) => void): Promise<Growth> => {
  const grow = async (database: string, stored: number): Promise<Grown> => {
    const connection = stage.postgres.superuser(database);
    const service = await stage.start('api', { database });
    await payOnceEach(service.url, stage.vendors.all);
    await emptyPayments(connection);
    await storePayments(connection, { first: 0, end: fewStored, log });
    const answered = await payOnceEach(service.url, stage.vendors.all.slice(0, 1000));
    if (stored > fewStored) await storePayments(connection, { first: fewStored, end: stored, log });
    tally(stage, { database, answered: stored + answered });
    return { database, service, stored, readsFile: await writeReads(stage, service, database) };
  };
  return { few: await grow('few', fewStored), many: await grow('many', stage.options.stored) };
};

/** Payments per second with many stored, over those with few, one after the other. */
export const growth = async (stage: Stage, { few, many }: Growth): Promise<Sample> => {
  const rateOf = async ({ service, database }: Grown): Promise<number> =>
    (await paymentsPerSecond(stage, service.url, { clients: 64, database })).rate;
  const before = await rateOf(few);
  const sample = await measured(stage, [many.service], async () => ({ value: await rateOf(many) }));
  return {
    ...sample,
    over: before,
    note: `${Math.round(before)}/s with ${few.stored} stored, ${Math.round(sample.value)}/s with ${many.stored}`,
  };
};

/** The p95 of every kind of read with many stored, over that with few; the sample is the kind that grew most. */
export const listGrowth = async (stage: Stage, { few, many }: Growth): Promise<Sample> => {
  const readAll = async ({ service, readsFile }: Grown): Promise<ReadsReport['p95']> => {
    const args = [scriptOf('reads.ts'), service.url, readsFile, String(stage.options.seconds)];
    const report = (await runForJson(process.execPath, args)) as ReadsReport; // what the script prints
    if (report.failures > 0) throw new Error(`${report.failures} reads were not answered 200`);
    return report.p95;
  };
  const before = await readAll(few);
  let kinds: { kind: string; value: number; over: number }[] = [];
  const sample = await measured(stage, [many.service], async () => {
    const after = await readAll(many);
    kinds = Object.keys(before)
      .map((kind) => ({ kind, value: after[kind] ?? Number.NaN, over: before[kind] ?? Number.NaN }))
      .sort((a, b) => b.value / b.over - a.value / a.over);
    return { value: kinds[0]?.value ?? Number.NaN };
  });
  const note = kinds
    .map(({ kind, value, over }) => `${kind} ${over.toFixed(1)} → ${value.toFixed(1)} ms`)
    .join(', ');
  return { ...sample, over: kinds[0]?.over, note };
};

/** Reads of the vendors that have a full page of payments in both databases. */
const writeReads = async (
  { postgres, vendors: { all } }: Stage,
  { url }: Service,
  name: string,
): Promise<string> => {
  const client = openClient(url, { connections: 1 });
  const reads: Read[] = [];
  // The largest vendors in turn with the next largest.
  for (let number = 0; number < 2 * readers; number += 1) {
    const token = all[number % 2 === 0 ? (number / 2) % 2 : 2 + (number % (readers - 2))]?.token ?? '';
    const { data, next_cursor: cursor } = JSON.parse((await client.get('/payments', token)).text) as Page;
    const payment = data.at(-1);
    if (!payment || cursor === null) throw new Error('a vendor of the reads has no full page of payments');
    const day = 24 * 3_600_000;
    const old = Date.now() - 60 * day;
    const range = [old, old + day].map((time) => new Date(time).toISOString());
    const paths = {
      list: '',
      'next page': `?cursor=${cursor}`,
      get: `/${payment.id}`,
      'by reference': `?reference=${encodeURIComponent(payment.reference)}`,
      'by date': `?created_from=${range[0]}&created_before=${range[1]}`,
      'by amount': `?currency=USD&amount_min=42.00&amount_max=42.99`,
    };
    for (const [kind, path] of Object.entries(paths)) reads.push({ kind, path: `/payments${path}`, token });
  }
  client.close();
  const file = join(postgres.home, `reads-${name}.json`);
  await writeFile(file, JSON.stringify(reads), { mode: 0o600 });
  return file;
};

/** As much of a list's answer as is needed here. */
type Page = { data: { id: string; reference: string }[]; next_cursor: string | null };
