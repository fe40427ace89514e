import { setFlagsFromString } from 'node:v8';
import { Option, type Command } from 'commander';
import type { Context, Mode } from '../lib/caller.ts';
import { openDatabase, type Db } from '../lib/database.ts';
import { rehearse } from '../lib/dry-run.ts';
import { isId, type Id } from '../lib/ids.ts';
import { parseTime } from '../lib/time.ts';
import { compareStatement, withStatement, type Staged } from '../reconciliation/compare.ts';
import { corrected, type Against } from '../reconciliation/schema.ts';
import { leaveOutOthers, listOwners } from '../reconciliation/stage.ts';
import { getAnyRun, type Run } from '../reconciliation/store.ts';
import { findVendorRecord, type VendorRecord } from '../vendors/credentials.ts';
import { findTenantSettings, findVendor } from '../vendors/vendors.ts';
import { commandContext, dryRunOption } from './context.ts';
import { correctBreaks, type BreakNumber } from './correct.ts';
import { progressLine } from './progress.ts';
import { printReconciliation, type Format } from './report.ts';
import { statementIn } from './statement-file.ts';
import { findTarget, type Target } from './target.ts';

/** `florin reconcile` */
export const register = (program: Command): void => {
  program
    .command('reconcile')
    .description("compare a payment backend's statement with the books; exits 1 when they differ")
    .argument(
      '[statement]',
      'file in CSV or JSON lines (.jsonl), or the id of an earlier reconciliation, rec_…',
    )
    .option('--vendor <vendor>', 'whose payments; unless given, whose the statement names')
    .addOption(new Option('--mode <mode>', 'of which mode').choices(['test', 'live']))
    .option(
      '--connector <name>',
      'whose statement it is; unless given, the backend of the payments that it names',
    )
    .option('--from <time>', 'begin of the period; unless given, the first day of the statement (UTC)')
    .option('--until <time>', 'end of the period, not included; unless given, the end of its last day')
    .option('--matches', 'also list the lines that match')
    .option('--correct <break...>', 'post a correction of these breaks: numbers, or rec_…/3')
    .option('--reason <text>', 'why it is corrected; kept in the journal')
    .addOption(
      new Option('--against <account>', 'where the other side of a correction goes')
        .choices(corrected)
        .default('corrections'),
    )
    .option('--local', 'write it directly: where Florin is one process, there is no sapi to ask')
    .addOption(
      new Option('--format <format>', 'how to print').choices(['table', 'csv', 'json']).default('table'),
    )
    .addOption(dryRunOption())
    .addHelpText(
      'after',
      '\nThe columns are in docs/reconciliation.md.\n\nExamples:\n' +
        '  florin reconcile statement.csv\n' +
        '  florin reconcile statement.csv --vendor corner-shop --mode live --connector http --format csv --matches > result.csv\n' +
        '  florin reconcile --correct rec_01h455vb4pex5vsknk084sn02q/3 --reason "Charged twice, ticket 4711"',
    )
    .action(reconcile);
};

type Options = {
  vendor?: string;
  mode?: Mode;
  connector?: string;
  from?: string;
  until?: string;
  matches?: true;
  correct?: string[];
  reason?: string;
  against: Against;
  local?: true;
  format: Format;
  dryRun?: true;
};

const reconcile = async (argument: string | undefined, options: Options): Promise<void> => {
  assertCorrection(argument, options);
  const target = await findTarget();
  // Comparing a million lines may take longer than a request may.
  const connection = { ...target.connections.service, statementTimeoutMs: undefined };
  await using database = openDatabase({ connection, poolMax: 2, applicationName: 'florin-reconcile' });
  const { db } = database;
  const work = (): Promise<void> =>
    argument === undefined || isId('reconciliation', argument)
      ? showEarlier(db, target, argument, options)
      : compareFile(db, target, argument, options);
  await (options.dryRun ? rehearse(work) : work());
  if (options.dryRun) process.stderr.write('Nothing was written: this was a dry run.\n');
};

/** @throws Error when it is not clear what to do */
const assertCorrection = (argument: string | undefined, { correct, reason }: Options): void => {
  if (argument === undefined && correct === undefined)
    throw new Error('Name a statement, or a break to correct: florin reconcile statement.csv');
  if (correct && reason === undefined) throw new Error('Say why it is corrected: --reason "…"');
  if (!correct && reason !== undefined) throw new Error('--reason goes with --correct.');
};

/** Corrects breaks of earlier reconciliations, and shows how they stand. */
const showEarlier = async (
  db: Db,
  target: Target,
  argument: Id<'reconciliation'> | undefined,
  options: Options,
): Promise<void> => {
  const breaks = (options.correct ?? []).map((text) => breakNamed(text, argument));
  const ids = [...new Set([...(argument === undefined ? [] : [argument]), ...breaks.map(({ id }) => id)])];
  const runs = await Promise.all(ids.map((id) => getAnyRun(db, id)));
  await correctBreaks(db, target, runs, breaks, { ...options, reason: options.reason ?? '' });
  for (const run of runs) await print(db, run, options, undefined);
};

/** Compares a file, corrects what was asked for, and shows what came of it. */
const compareFile = async (db: Db, target: Target, file: string, options: Options): Promise<void> => {
  const { from, until, connector } = options;
  const wanted = {
    connector,
    from: from === undefined ? undefined : timeIn(from, '--from'),
    until: until === undefined ? undefined : timeIn(until, '--until'),
  };
  const context = commandContext();
  const record = await recordOf(db, options);
  // A million lines pass through, and V8 would let what they leave lie until the process had twice the memory.
  setFlagsFromString('--optimize-for-size');
  using progress = progressLine(process.stderr.isTTY);
  const statement = await statementIn(file, (percent) => progress.show(`reading ${file}: ${percent} %`));
  await withStatement(db, context.now, statement, async (staged) => {
    const lines = `${staged.lines.toLocaleString('en')} lines`;
    progress.show(`finding out whose the ${lines} are`);
    const tenantId = await tenantOf(db, staged, record, options);
    const others = await leaveOutOthers(db, staged.id, tenantId);
    progress.clear();
    if (others > 0) process.stderr.write(`${others} lines name payments of others and are left out.\n`);
    const own = { ...staged, lines: staged.lines - others };
    const write = { context: { ...context, tenantId } satisfies Context, key: undefined };
    await compareStatement(db, write, own, wanted, (step, steps) =>
      progress.show(`comparing ${lines}: step ${step} of ${steps}`),
    );
    progress.clear();
    const run = await getAnyRun(db, staged.id);
    const breaks = (options.correct ?? []).map((text) => breakNamed(text, run.id));
    await correctBreaks(db, target, [run], breaks, { ...options, reason: options.reason ?? '' });
    await print(db, run, options, options.matches && staged.id);
  });
};

const print = async (
  db: Db,
  { id }: Run,
  { format }: Options,
  matchesOf: Id<'reconciliation'> | undefined,
): Promise<void> => {
  const run = await getAnyRun(db, id);
  await printReconciliation(db, run, { format, matchesOf });
  if (run.corrected < run.breaks) process.exitCode = 1;
};

const breakNamed = (text: string, run: Id<'reconciliation'> | undefined): BreakNumber => {
  const [, named, number] = /^(?:(rec_\w+)\/)?([1-9]\d{0,8})$/.exec(text) ?? [];
  const id = named ?? run;
  if (number === undefined || id === undefined || !isId('reconciliation', id))
    throw new Error(`"${text}" names no break: rec_…/3, or 3 of the statement that is compared`);
  return { id, number: Number(number) };
};

/** A day counts as its first moment in UTC. */
const timeIn = (text: string, option: string): Date =>
  parseTime(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text, option);

/** The vendor that was named. @throws Error when there is none: before a long statement is read */
const recordOf = async (db: Db, { vendor }: Options): Promise<VendorRecord | undefined> => {
  if (vendor === undefined) return undefined;
  const slug = (await findVendor(db, vendor))?.slug;
  const record = slug === undefined ? undefined : await findVendorRecord(db, { slug });
  if (!record) throw new Error(`There is no vendor "${vendor}": florin vendor list`);
  return record;
};

/** Whose statement it is: as it was said, or as its first lines show. @throws Error when they leave it open */
const tenantOf = async (
  db: Db,
  { id }: Staged,
  record: VendorRecord | undefined,
  { mode, connector }: Options,
): Promise<number> => {
  if (record && mode) return record.tenants[mode];
  const owners = await listOwners(db, id, undefined);
  const fitting = owners.filter(
    (owner) =>
      (connector === undefined || owner.connector === connector) &&
      (!record || Object.values(record.tenants).includes(owner.tenantId)),
  );
  const named = await Promise.all(
    [...new Set(fitting.map(({ tenantId }) => tenantId))].map(async (tenantId) => {
      const settings = await findTenantSettings(db, tenantId);
      const found = settings && (await findVendor(db, settings.vendorId));
      return { tenantId, mode: settings?.mode, slug: found?.slug ?? `tenant ${tenantId}` };
    }),
  );
  const [one, ...others] = named.filter((owner) => mode === undefined || owner.mode === mode);
  if (one && others.length === 0) return one.tenantId;
  if (!one)
    throw new Error(
      'None of the first references of the statement is known here. Say whose it is: --vendor, --mode and --connector.',
    );
  const choices = [one, ...others].map((owner) => `--vendor ${owner.slug} --mode ${owner.mode ?? ''}`);
  throw new Error(
    `The statement names payments of several. Compare them one by one:\n  ${choices.join('\n  ')}`,
  );
};
