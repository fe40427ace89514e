import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { changedTables, tablesOf } from '../../test/setup/requests.ts';
import { apiKeyDigest } from '../vendors/api-keys.ts';
import { findApiKey } from '../vendors/credentials.ts';
import { operatorEnv, operatorForTests, programOf, run, type Output } from './operator.testing.ts';

const operator = operatorForTests();
const program = programOf('vendor.ts', 'api-key.ts');

/** Runs a command as an operator does, against the test database. */
const florin = (...argv: string[]): Promise<Output> =>
  run(program, argv, operatorEnv(operator.database, operator.folder));

describe('florin vendor and api-key', () => {
  test('create, list, disable and enable a vendor; each change names who typed it', async () => {
    const created = JSON.parse(
      (await florin('vendor', 'create', 'cli-vendor', '--name', 'CLI', '--role', 'finance', '--json')).stdout,
    );
    expect(created).toMatchObject({ slug: 'cli-vendor', clients: [{ role: 'finance', mode: 'test' }] });
    expect(created.client_secret).toMatch(/^[\w-]{43}$/);
    expect((await florin('vendor', 'disable', 'cli-vendor')).stdout).toBe('cli-vendor is disabled.\n');
    expect((await florin('vendor', 'list')).stdout).toMatch(/cli-vendor .* disabled/);
    expect((await florin('vendor', 'enable', created.id)).stdout).toBe('cli-vendor is enabled.\n');
    const { rows } = await sql<{ kind: string }>`
      select kind from journal.entries where actor like 'cli:_%' order by object_version
    `.execute(operator.database.db);
    expect(rows.map(({ kind }) => kind)).toEqual(['vendor.created', 'vendor.disabled', 'vendor.enabled']);
  });

  test('create, list and revoke keys of a vendor and of the platform', async () => {
    await florin('vendor', 'create', 'key-owner', '--name', 'Owner');
    const own = JSON.parse(
      (
        await florin(
          'api-key',
          'create',
          '--vendor',
          'key-owner',
          '--name',
          'Till',
          '--mode',
          'live',
          '--json',
        )
      ).stdout,
    );
    expect(own.key).toMatch(/^fk_live_/);
    const { stdout } = await florin(
      'api-key',
      'create',
      '--platform',
      '--role',
      'admin',
      '--name',
      'Support',
      '--default-vendor',
      'key-owner',
    );
    const [, platformKey = ''] = /^Key +(\S+)/.exec(stdout) ?? [];
    expect(await findApiKey(operator.database.db, apiKeyDigest(platformKey))).toMatchObject({
      tenantId: 0,
      role: 'admin',
      mode: 'test',
    });
    expect((await florin('api-key', 'list', '--vendor', 'key-owner', '--mode', 'live')).stdout).toContain(
      'Till',
    );
    expect((await florin('api-key', 'list', '--platform')).stdout).toContain('Support');
    await florin('api-key', 'revoke', own.id);
    expect((await florin('api-key', 'list', '--vendor', 'key-owner', '--mode', 'live')).stdout).toContain(
      'revoked',
    );
    expect(await findApiKey(operator.database.db, apiKeyDigest(own.key))).toBeUndefined();
  });

  test(
    '--dry-run shows what each would do, without a secret, and changes nothing',
    { timeout: 60_000 },
    async () => {
      const vendor = ['vendor', 'create', 'dry-vendor', '--name', 'Dry'];
      const shown = async (...argv: string[]) => JSON.parse((await florin(...argv, '--dry-run')).stdout);
      const readVault = () => readFile(join(operator.folder, 'secrets'));
      await florin('vendor', 'create', 'dry-owner', '--name', 'Owner');
      const apiKey = ['api-key', 'create', '--vendor', 'dry-owner', '--name', 'Till'];
      const key = JSON.parse((await florin(...apiKey, '--json')).stdout);
      const tables = await tablesOf(operator.database.superuser);
      const [before, vault] = [await tables.contents(), await readVault()];
      const created = await shown(...vendor);
      expect(created).toMatchObject({
        dry_run: true,
        status: 201,
        result: { slug: 'dry-vendor' },
        events: [{ type: 'vendor.created' }],
      });
      expect(created.result).not.toHaveProperty('client_secret');
      expect((await shown(...apiKey)).result).not.toHaveProperty('key');
      expect(await shown('vendor', 'disable', 'dry-owner')).toMatchObject({ result: { enabled: false } });
      expect(await shown('api-key', 'revoke', key.id)).toMatchObject({
        events: [{ type: 'api_key.revoked' }],
      });
      expect(changedTables(before, await tables.contents())).toEqual([]);
      expect(await readVault()).toEqual(vault);
    },
  );

  test('what is wrong is named, and nothing is made', async () => {
    await expect(florin('vendor', 'create', 'Not A Slug', '--name', 'x')).rejects.toThrow(
      /slug: must be small letters/,
    );
    await expect(florin('vendor', 'disable', 'nobody')).rejects.toThrow('There is no vendor "nobody"');
    await expect(florin('api-key', 'create', '--name', 'x')).rejects.toThrow(
      '--vendor <vendor> or --platform',
    );
  });
});
