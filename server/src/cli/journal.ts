import { readFile, writeFile } from 'node:fs/promises';
import { InvalidArgumentError, type Command } from 'commander';
import { checkProof, parseHead, parseProof } from '../journal/check.ts';
import { findNewestHead, listKeys, publishKeys } from '../journal/heads.ts';
import { append } from '../journal/journal.ts';
import { findEntryOf, headJson, proveEntry } from '../journal/proofs.ts';
import {
  isSignedBy,
  makeKeyAdvice,
  openSigner,
  pemOf,
  signerOf,
  signingKeyPath,
  withNewKey,
  withoutOldKey,
} from '../journal/signing.ts';
import { listTransfers } from '../ledger/store.ts';
import { inTransaction } from '../lib/database.ts';
import { idPrefixes, isId, type Id, type IdKind } from '../lib/ids.ts';
import type { Secret } from '../lib/secret.ts';
import { openCommandDatabase, print, printJson } from './context.ts';
import { readKeyFile } from './verify.ts';

/** `florin journal head | keys | proof | check | rotate-key` */
export const register = (program: Command): void => {
  const journal = program.command('journal').description('prove what was recorded, and check proofs');
  journal
    .command('head')
    .description('print the newest signed head of the journal')
    .option('--json', 'print JSON, to be kept: nothing before it can be changed unnoticed then')
    .addHelpText('after', '\nExample:\n  florin journal head --json > head-2026-11-22.json')
    .action(head);
  journal
    .command('keys')
    .description('print the public keys that signed heads, in PEM: for auditors')
    .addHelpText('after', '\nExample:\n  florin journal keys > florin-journal.pem')
    .action(keys);
  journal
    .command('proof')
    .description('prove that an entry is in the journal; of an object its newest entry')
    .argument('<id>', 'of an entry (evt_…), or of an object such as a payment (pay_…)')
    .option('--output <file>', 'write it there')
    .option('--since <size>', 'prove too that the journal began like its head of this size', wholeSize)
    .addHelpText(
      'after',
      '\nExample:\n  florin journal proof pay_01h455vb4pex5vsknk084sn02q --output proof.json',
    )
    .action(proof);
  journal
    .command('check')
    .description('check a proof from its file alone, without a database or network')
    .argument('<proof-file>', 'as `florin journal proof` or the API gave it')
    .option('--key <file>', 'public keys of the operator in PEM, known by another way')
    .option('--head <file>', 'a head that you kept')
    .addHelpText(
      'after',
      '\nExits 0 when it holds, 1 with what is wrong.\n\nExample:\n  florin journal check proof.json --key florin-journal.pem',
    )
    .action(check);
  journal
    .command('rotate-key')
    .description('sign heads with a new key besides the present one; with --finish, with the new one alone')
    .option('--finish', 'take the old key away; its public key stays known')
    .addHelpText('after', '\nExamples:\n  florin journal rotate-key\n  florin journal rotate-key --finish')
    .action(rotateKey);
};

const head = async ({ json }: { json?: true }): Promise<void> => {
  await using opened = await openCommandDatabase();
  const newest = await findNewestHead(opened.db);
  if (!newest)
    throw new Error('The journal has no signed head yet. The worker signs them: florin serve worker');
  const { number, size, root, timestamp, signatures } = headJson(newest);
  if (json) return printJson(headJson(newest));
  print(`Head       ${number}`);
  print(`Entries    ${size}`);
  print(`Root       ${root}`);
  print(`Time       ${timestamp}`);
  for (const { key_id: id } of signatures) print(`Signed by  ${id}`);
};

const keys = async (): Promise<void> => {
  await using opened = await openCommandDatabase();
  for (const { id, key, createdAt } of await listKeys(opened.db))
    print(`Key ${id}, since ${createdAt.toISOString()}\n${pemOf(key)}`);
};

type ProofOptions = { output?: string; since?: bigint };

const proof = async (id: string, { output, since }: ProofOptions): Promise<void> => {
  if (!isAnyId(id)) throw new Error(`"${id}" is no id: evt_… of an entry, or pay_… of a payment`);
  await using opened = await openCommandDatabase();
  const { db } = opened;
  const entry = await findEntryOf(db, id);
  if (!entry) throw new Error(`The journal has no entry ${id}, or it has no position yet.`);
  const made = await proveEntry({ db, readTransfers: (ids) => listTransfers(db, ids) }, entry, since);
  if (output === undefined) return printJson(made);
  await writeFile(output, `${JSON.stringify(made, undefined, 2)}\n`);
  print(`Wrote ${output}: ${made.entry.kind}, position ${made.position} of ${made.head.size}.`);
};

// The table has these kinds and no others.
const kinds = Object.keys(idPrefixes) as IdKind[];

const isAnyId = (text: string): text is Id<IdKind> => kinds.some((kind) => isId(kind, text));

const wholeSize = (text: string): bigint => {
  if (!/^[1-9]\d{0,17}$/.test(text)) throw new InvalidArgumentError('It has to be the size of a head.');
  return BigInt(text);
};

const check = async (file: string, known: { key?: string; head?: string }): Promise<void> => {
  const { proven, faults } = checkProof(parseProof(await readFile(file, 'utf8')), {
    keys: known.key === undefined ? undefined : await readKeyFile(known.key),
    head: known.head === undefined ? undefined : parseHead(await readFile(known.head, 'utf8')),
  });
  for (const line of proven) print(`proven    ${line}`);
  for (const line of faults) print(`WRONG     ${line}`);
  print(faults.length === 0 ? '\nThe proof holds.' : '\nThe proof does not hold.');
  if (faults.length > 0) process.exitCode = 1;
};

const rotateKey = async ({ finish }: { finish?: true }): Promise<void> => {
  await using opened = await openCommandDatabase();
  const { db, secrets, context } = opened;
  if (!secrets.writable) throw new Error(readOnlyAdvice);
  await openSigner(secrets);
  const stored = await secrets.read(signingKeyPath);
  if (!stored) throw new Error('The signing key that was made can not be read.');
  await assertInUse(db, stored.value);
  const next = finish ? withoutOldKey(stored.value) : withNewKey(stored.value);
  const signer = signerOf(next);
  // Known before it signs: whoever meets its first signature finds it.
  await publishKeys(db, signer, context.now);
  await secrets.write(signingKeyPath, next);
  const ids = signer.keys.map(({ id }) => id);
  const kind = finish ? 'journal.key_rotation_finished' : 'journal.key_rotated';
  await inTransaction(db, (tx) => append(tx, context, { kind, snapshot: { keys: ids } }));
  print(`Heads are signed by ${ids.join(' and ')} within half a minute.`);
  if (!finish)
    print(
      'Give the new public key to your auditors (florin journal keys), then: florin journal rotate-key --finish',
    );
};

/** The newest head always bears a signature of the newest key, or of the one that it is replacing right now. */
const assertInUse = async (db: Parameters<typeof findNewestHead>[0], pem: Secret): Promise<void> => {
  const newest = await findNewestHead(db);
  const [key] = signerOf(pem).keys;
  if (!newest || (key && isSignedBy(newest, key))) return;
  throw new Error(
    'The newest key has signed no head yet. Let the worker run for half a minute: florin serve worker',
  );
};

const readOnlyAdvice = `These secrets can only be read. ${makeKeyAdvice}, before the old key in the same file; take the old one out once heads are signed by the new one.`;
