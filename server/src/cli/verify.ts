import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { parseHead } from '../journal/check.ts';
import { readPublicKeys, signerOf, signingKeyPath, type PublicKey } from '../journal/signing.ts';
import { verifyJournal, type VerifyOptions } from '../journal/verify.ts';
import { listTransfers } from '../ledger/store.ts';
import { verifyLedger } from '../ledger/verify.ts';
import { systemClock } from '../lib/clock.ts';
import { processEnv } from '../lib/config/environment.ts';
import { openDatabase, type Db } from '../lib/database.ts';
import type { Finding } from '../lib/finding.ts';
import { verifyPayments } from '../payments/verify.ts';
import { verifyReconciliations } from '../reconciliation/verify.ts';
import { openSecrets, type SecretsConfig } from '../secrets/secrets.ts';
import { print, printJson } from './context.ts';
import { progressLine } from './progress.ts';
import { findTarget } from './target.ts';

type Options = { json?: true; since?: string; key?: string };

/** `florin audit verify`, and the same as `florin ledger verify`. */
export const registerVerify = (parent: Command, name: string): void => {
  parent
    .command('verify')
    .description(
      'recompute every balance and rule of ledger and payments, every entry, position and head of the journal; names the first difference of each check',
    )
    .option('--json', 'print the findings as JSON')
    .option(
      '--since <head-file>',
      'of the journal only what came after this head, kept from `florin journal head --json`',
    )
    .option(
      '--key <file>',
      'public keys (PEM) that have to have signed the newest head; those of the vault unless given',
    )
    .addHelpText(
      'after',
      `\nExits 0 when everything agrees, 1 when something differs.\n\nExamples:\n  florin ${name} verify\n  florin ${name} verify --since head-2026-11-22.json`,
    )
    .action(verify);
};

const verify = async (options: Options): Promise<void> => {
  const { loaded, connections } = await findTarget();
  const journal: VerifyOptions = {
    since: options.since === undefined ? undefined : await keptHead(options.since),
    keys: options.key === undefined ? await vaultKeys(loaded.config) : await readKeyFile(options.key),
    now: systemClock.now(),
  };
  const progress = progressLine(options.json !== true && process.stderr.isTTY);
  // Checking everything may take longer than a request may.
  const connection = { ...connections.service, statementTimeoutMs: undefined };
  await using database = openDatabase({ connection, poolMax: 1, applicationName: 'florin-verify' });
  const findings = await findingsOf(database.db, {
    ...journal,
    onProgress: (done, total) =>
      progress.show(`journal: ${done.toLocaleString('en')} of ${total.toLocaleString('en')} positions`),
  });
  progress.clear();
  const differences = findings.filter(({ difference }) => difference !== undefined);
  if (differences.length > 0) process.exitCode = 1;
  if (options.json) return printJson({ ok: differences.length === 0, findings });
  for (const finding of findings) print(lineOf(finding));
  if (journal.keys === undefined)
    print('\nThe vault has no signing key: heads were checked with the keys of the database alone.');
  print(
    differences.length === 0 ? '\nEverything agrees.' : `\n${differences.length} checks found a difference.`,
  );
};

const findingsOf = async (db: Db, options: VerifyOptions): Promise<Finding[]> => [
  ...(await verifyLedger(db)),
  ...(await verifyPayments(db)),
  ...(await verifyReconciliations(db)),
  ...(await verifyJournal(db, (ids) => listTransfers(db, ids), options)),
];

const lineOf = ({ check, looked, difference }: Finding): string =>
  difference === undefined ? `ok        ${check} (${looked})` : `DIFFERS   ${check}\n          ${difference}`;

const keptHead = async (file: string): Promise<VerifyOptions['since']> => {
  const { size, root } = parseHead(await readFile(file, 'utf8'));
  return { size: BigInt(size), root: Buffer.from(root, 'hex') };
};

/** Whoever changes the database can't change the vault with it. */
const vaultKeys = async (config: SecretsConfig): Promise<readonly PublicKey[] | undefined> => {
  const secrets = openSecrets(config, { env: processEnv(), clock: systemClock });
  const stored = await secrets.read(signingKeyPath);
  return stored && signerOf(stored.value).keys;
};

/** The public keys of a file in PEM. @throws Error when it holds none */
export const readKeyFile = async (file: string): Promise<readonly PublicKey[]> => {
  const keys = readPublicKeys(await readFile(file, 'utf8'));
  if (keys.length === 0) throw new Error(`${file} holds no Ed25519 public key in PEM.`);
  return keys;
};
