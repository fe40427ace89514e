import { InvalidArgumentError, Option, type Command } from 'commander';
import { roles, type Mode } from '../lib/caller.ts';
import { toUuid } from '../lib/ids.ts';
import { CreateVendorBody, type VendorJson } from '../vendors/schema.ts';
import { listVendors } from '../vendors/store.ts';
import {
  clientSecretPath,
  createVendor,
  disableVendor,
  enableVendor,
  findVendor,
  vendorJson,
} from '../vendors/vendors.ts';
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

/** `florin vendor create | list | disable | enable` */
export const register = (program: Command): void => {
  const vendor = program.command('vendor').description('manage who is paid');
  vendor
    .command('create')
    .description('create a vendor with a first client; prints the secret of the client once')
    .argument('<slug>', 'unique short name: small letters, digits, hyphens')
    .requiredOption('--name <name>', 'what people call it')
    .addOption(
      new Option('--mode <mode>', 'mode of the first client').choices(['test', 'live']).default('test'),
    )
    .addOption(new Option('--role <role>', 'role of the first client').choices(roles).default('developer'))
    .option('--client-id <id>', 'id of the first client; made up unless given')
    .option('--fee-basis-points <number>', 'fee in hundredths of a percent', wholeNumber)
    .addOption(dryRunOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      "\nExamples:\n  florin vendor create corner-shop --name 'Corner Shop Ltd'\n  florin vendor create corner-shop --name 'Corner Shop' --role finance --fee-basis-points 290 --json",
    )
    .action(create);
  vendor
    .command('list')
    .description('list the vendors, the newest first')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  florin vendor list --json')
    .action(list);
  vendor
    .command('disable')
    .description('refuse all credentials of a vendor, everywhere within about a second')
    .argument('<vendor>', 'id or slug')
    .addOption(dryRunOption())
    .addHelpText('after', '\nExample:\n  florin vendor disable corner-shop')
    .action((name: string, options: DryRunOptions) => turn(name, options, disableVendor));
  vendor
    .command('enable')
    .description('let the credentials of a vendor in again')
    .argument('<vendor>', 'id or slug')
    .addOption(dryRunOption())
    .addHelpText('after', '\nExample:\n  florin vendor enable corner-shop')
    .action((name: string, options: DryRunOptions) => turn(name, options, enableVendor));
};

type DryRunOptions = { dryRun?: true };

type CreateOptions = DryRunOptions & {
  name: string;
  mode: Mode;
  role: string;
  clientId?: string;
  feeBasisPoints?: number;
  json?: true;
};

const create = async (
  slug: string,
  { json, mode, clientId, feeBasisPoints, dryRun, ...options }: CreateOptions,
): Promise<void> => {
  const members = given({ client_id: clientId, fee_basis_points: feeBasisPoints });
  const body = checked(CreateVendorBody, { slug, ...options, ...members });
  await using opened = await openCommandDatabase();
  const write = { context: opened.context, key: undefined };
  const make = () => createVendor(opened, write, { ...body, mode });
  if (dryRun) return await printPreview(opened.db, make);
  const { entry, clientSecret } = await make();
  // `vendorJson` made the snapshot.
  const vendor = entry.snapshot as VendorJson;
  if (json) return printJson({ ...vendor, client_secret: clientSecret.reveal() });
  print(`Vendor         ${vendor.slug} (${vendor.id})`);
  print(`Client id      ${vendor.clients[0]?.client_id}`);
  print(`Client secret  ${clientSecret.reveal()}`);
  print(`\nThe secret is kept in the vault at ${clientSecretPath(slug)} and not shown again.`);
};

/** How many vendors are read at once. */
const pageSize = 1_000;

const list = async ({ json }: { json?: true }): Promise<void> => {
  await using opened = await openCommandDatabase();
  const vendors: VendorJson[] = [];
  for (let isLast = false; !isLast;) {
    const last = vendors.at(-1);
    const rows = await listVendors(opened.db, { limit: pageSize, before: last && toUuid(last.id) });
    vendors.push(...rows.map(vendorJson));
    isLast = rows.length < pageSize;
  }
  if (json) return printJson(vendors);
  const columns = ['slug', 'name', 'state', 'clients', 'id'];
  const cells = vendors.map(({ slug, name, enabled, clients, id }) => [
    slug,
    name,
    enabled ? 'enabled' : 'disabled',
    clients.map((client) => `${client.client_id} (${client.mode}, ${client.role})`).join(', '),
    id,
  ]);
  print(textTable(columns, cells));
};

const turn = async (name: string, { dryRun }: DryRunOptions, act: typeof disableVendor): Promise<void> => {
  await using opened = await openCommandDatabase();
  const vendor = await findVendor(opened.db, name);
  if (!vendor) throw new Error(`There is no vendor "${name}". florin vendor list shows them.`);
  const change = () => act(opened.db, { context: opened.context, key: undefined }, vendor.id);
  if (dryRun) return await printPreview(opened.db, change);
  const { entry } = await change();
  print(`${vendor.slug} is ${entry.kind === 'vendor.disabled' ? 'disabled' : 'enabled'}.`);
};

const wholeNumber = (text: string): number => {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It has to be a whole number.');
  return Number(text);
};
