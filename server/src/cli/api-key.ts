import { Option, type Command } from 'commander';
import { platformTenantId, roles, type Mode, type Role } from '../lib/caller.ts';
import type { Db } from '../lib/database.ts';
import { isId, toUuid } from '../lib/ids.ts';
import { findApiKeyOwner, listApiKeys } from '../vendors/api-key-store.ts';
import { apiKeyJson, createApiKey, revokeApiKey } from '../vendors/api-keys.ts';
import { findVendorRecord } from '../vendors/credentials.ts';
import { CreateApiKeyBody, type ApiKeyJson } from '../vendors/schema.ts';
import {
  checked,
  dryRunOption,
  given,
  openCommandDatabase,
  print,
  printJson,
  printPreview,
} from './context.ts';
import { textTable } from './table.ts';

/** `florin api-key create | list | revoke` */
export const register = (program: Command): void => {
  const apiKey = program.command('api-key').description('manage API keys of vendors and of the platform');
  apiKey
    .command('create')
    .description('create an API key and print it once')
    .requiredOption('--name <name>', 'what the key is for')
    .addOption(new Option('--vendor <vendor>', 'whose key: id or slug').conflicts('platform'))
    .option('--platform', 'a key of the platform itself')
    .option('--default-vendor <vendor>', 'whom a platform key acts for when a request names no vendor')
    .addOption(modeOption())
    .addOption(new Option('--role <role>', 'what the key may do').choices(roles).default('developer'))
    .option('--expires-at <time>', 'when it ends by itself, ISO 8601')
    .addOption(dryRunOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  florin api-key create --vendor corner-shop --name Checkout\n  florin api-key create --platform --role admin --name Support --mode live --json',
    )
    .action(create);
  apiKey
    .command('list')
    .description('list the keys of a vendor, or of the platform')
    .addOption(new Option('--vendor <vendor>', 'id or slug').conflicts('platform'))
    .option('--platform', 'the keys of the platform itself')
    .addOption(modeOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  florin api-key list --vendor corner-shop\n  florin api-key list --platform --mode live',
    )
    .action(list);
  apiKey
    .command('revoke')
    .description('refuse a key everywhere within about a second')
    .argument('<id>', 'id of the key, key_…')
    .addOption(dryRunOption())
    .addHelpText('after', '\nExample:\n  florin api-key revoke key_01h455vb4pex5vsknk084sn02q')
    .action(revoke);
};

const modeOption = (): Option =>
  new Option('--mode <mode>', 'mode of the key').choices(['test', 'live']).default('test');

type OwnerOptions = { vendor?: string; platform?: true; mode: Mode };
type CreateOptions = OwnerOptions & {
  name: string;
  role: Role;
  defaultVendor?: string;
  expiresAt?: string;
  json?: true;
  dryRun?: true;
};

const create = async (options: CreateOptions): Promise<void> => {
  const { name, role, expiresAt, defaultVendor, json, dryRun } = options;
  if (defaultVendor !== undefined && !options.platform)
    throw new Error('--default-vendor is for keys of the platform.');
  const body = checked(CreateApiKeyBody, { name, role, ...given({ expires_at: expiresAt }) });
  await using opened = await openCommandDatabase();
  const owner = await ownerOf(opened.db, options);
  const vendor = defaultVendor === undefined ? undefined : await vendorOf(opened.db, defaultVendor);
  const request = { owner, body, defaultVendor: vendor?.id };
  const make = () => createApiKey(opened, { context: opened.context, key: undefined }, request);
  if (dryRun) return await printPreview(opened.db, make);
  const { entry, secret } = await make();
  // `apiKeyJson` made the snapshot.
  const key = entry.snapshot as ApiKeyJson;
  if (json) return printJson({ ...key, key: secret.reveal() });
  print(`Key   ${secret.reveal()}`);
  print(`Id    ${key.id}`);
  print('\nThe key is not shown again.');
};

/** How many keys are read at once. */
const pageSize = 1_000;

const list = async (options: OwnerOptions & { json?: true }): Promise<void> => {
  await using opened = await openCommandDatabase();
  const owner = await ownerOf(opened.db, options);
  const keys: ApiKeyJson[] = [];
  for (let isLast = false; !isLast;) {
    const last = keys.at(-1);
    const rows = await listApiKeys(opened.db, { owner, limit: pageSize, before: last && toUuid(last.id) });
    keys.push(...rows.map(apiKeyJson));
    isLast = rows.length < pageSize;
  }
  if (options.json) return printJson(keys);
  const columns = ['prefix', 'name', 'role', 'state', 'last used', 'id'];
  const cells = keys.map((key) => [
    key.prefix,
    key.name,
    key.role,
    stateOf(key),
    key.last_used_at ?? 'never',
    key.id,
  ]);
  print(textTable(columns, cells));
};

const revoke = async (id: string, { dryRun }: { dryRun?: true }): Promise<void> => {
  if (!isId('api_key', id)) throw new Error(`"${id}" is not the id of an API key: key_…`);
  await using opened = await openCommandDatabase();
  const owner = await findApiKeyOwner(opened.db, toUuid(id));
  if (!owner) throw new Error(`There is no API key ${id}.`);
  const change = () => revokeApiKey(opened.db, { context: opened.context, key: undefined }, owner, id);
  if (dryRun) return await printPreview(opened.db, change);
  await change();
  print(`${id} is revoked.`);
};

const ownerOf = async (db: Db, { vendor, platform, mode }: OwnerOptions) => {
  if (platform) return { tenantId: platformTenantId, mode };
  if (vendor === undefined) throw new Error('Say whose keys: --vendor <vendor> or --platform.');
  return { tenantId: (await vendorOf(db, vendor)).tenants[mode], mode };
};

const vendorOf = async (db: Db, name: string) => {
  const record = await findVendorRecord(db, isId('vendor', name) ? { id: toUuid(name) } : { slug: name });
  if (!record) throw new Error(`There is no vendor "${name}". florin vendor list shows them.`);
  return record;
};

const stateOf = ({ revoked_at: revokedAt, expires_at: expiresAt }: ApiKeyJson): string => {
  if (revokedAt !== null) return `revoked ${revokedAt}`;
  return expiresAt === null ? 'valid' : `until ${expiresAt}`;
};
