import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Secret } from '../lib/secret.ts';
import { environmentSecrets, variableOf } from './environment.ts';
import { openSecrets } from './secrets.ts';

const path = 'payment-system/vendors/xyz-vendor/client-secret';
const variable = 'PAYMENT_SYSTEM__VENDORS__XYZ_VENDOR__CLIENT_SECRET';

/** A folder that is gone when the test is over. */
const folder = async (): Promise<string> => {
  const made = await mkdtemp(join(tmpdir(), 'florin-mounted-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
};

describe('variables', () => {
  test('a path is found under its variable', async () => {
    const source = environmentSecrets({
      env: { [variable]: 'v', PATH: '/bin', HOME: '/root', DB_PASSWORD: 'p' },
    });
    expect((await source.read(path))?.value.reveal()).toBe('v');
    expect(await source.versions(path)).toEqual([{ version: 'variable', createdAt: undefined }]);
    expect((await source.read(path, 'variable'))?.value.reveal()).toBe('v');
    expect(await source.read(path, '7')).toBeUndefined();
    expect(await source.list('')).toEqual([path]);
    expect(await source.list('payment-system/services')).toEqual([]);
  });

  test('no two paths share a variable', () => {
    // Every text of up to 7 of these characters, and each with an ending that `_FILE` could be taken for.
    const byLength = [['']];
    while (byLength.length <= 7) {
      byLength.push(
        (byLength.at(-1) ?? []).flatMap((start) => ['a', '-', '_', '/', '.'].map((next) => start + next)),
      );
    }
    const paths = byLength.flat().flatMap((text) => [text, `${text}-file`]);
    const names = paths.flatMap((each) => variableOf(each) ?? []).flatMap((name) => [name, `${name}_FILE`]);
    expect(names.length).toBeGreaterThan(100);
    expect(new Set(names).size).toBe(names.length);
    for (const none of ['path', 'a/b_c', 'a/b--c', 'a/-b', 'A/b', 'tls/key-file', 'a.b/c']) {
      expect(variableOf(none)).toBeUndefined();
    }
  });

  test('the rest of the environment can not be read', async () => {
    const source = environmentSecrets({ env: { PATH: '/bin', HOME: '/root', constructor: 'x' } });
    for (const other of ['path', 'PATH', 'home', 'constructor', '__proto__']) {
      expect(await source.read(other)).toBeUndefined();
    }
  });

  test('an empty variable is no secret', async () => {
    const source = environmentSecrets({ env: { [variable]: '' } });
    expect(await source.read(path)).toBeUndefined();
    expect(await source.list('')).toEqual([]);
  });
});

describe('files named by a variable', () => {
  test('the file is read without its last newline, anew each time, and a change is a new version', async () => {
    const file = join(await folder(), 'secret');
    await writeFile(file, ' one\n\n');
    await utimes(file, new Date(1_000), new Date(1_000));
    const source = environmentSecrets({ env: { [`${variable}_FILE`]: file } });
    expect(await source.read(path)).toMatchObject({ version: '1000', createdAt: new Date(1_000) });
    expect((await source.read(path))?.value.reveal()).toBe(' one\n');
    await writeFile(file, 'two\r\n');
    const changed = await source.read(path);
    expect(changed?.value.reveal()).toBe('two');
    expect(changed?.version).not.toBe('1000');
    expect(await source.list('')).toEqual([path]);
  });

  test('a missing or empty file is said, not taken for no secret', async () => {
    const source = environmentSecrets({ env: { [`${variable}_FILE`]: '/nowhere/secret' } });
    await expect(source.read(path)).rejects.toThrow(
      `The file that ${variable}_FILE names is missing or empty.`,
    );
  });

  test('variable and file with different values are refused by name, equal ones are fine', async () => {
    const file = join(await folder(), 'secret');
    await writeFile(file, 'one\n');
    const env = (value: string) => ({ [variable]: value, [`${variable}_FILE`]: file });
    await expect(environmentSecrets({ env: env('two') }).read(path)).rejects.toThrow(
      `${variable} and ${variable}_FILE hold different values`,
    );
    expect((await environmentSecrets({ env: env('one') }).read(path))?.value.reveal()).toBe('one');
  });
});

describe('a mounted directory', () => {
  test('nested and flat names are found as Kubernetes lays them out, behind its links', async () => {
    const directory = await folder();
    await mkdir(join(directory, '..2026_11_22', 'payment-system', 'services'), { recursive: true });
    await symlink('..2026_11_22', join(directory, '..data'));
    await writeFile(join(directory, '..data', 'payment-system', 'services', 'api-key'), 'nested\n');
    await writeFile(join(directory, '..data', path.replaceAll('/', '.')), 'flat');
    await symlink('..data/payment-system', join(directory, 'payment-system'));
    await symlink(`..data/${path.replaceAll('/', '.')}`, join(directory, path.replaceAll('/', '.')));
    await writeFile(join(directory, 'empty'), '\n');
    const source = environmentSecrets({ env: {}, directory });
    expect((await source.read('payment-system/services/api-key'))?.value.reveal()).toBe('nested');
    expect((await source.read(path))?.value.reveal()).toBe('flat');
    expect(await source.list('')).toEqual(['payment-system/services/api-key', path]);
    expect(await source.read('payment-system/services')).toBeUndefined();
    expect(await source.read('a/'.repeat(200) + 'b')).toBeUndefined();
    await expect(source.read('../secret')).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('a variable goes before the directory; without either there is nothing', async () => {
    const directory = await folder();
    await writeFile(join(directory, path.replaceAll('/', '.')), 'file');
    expect(
      (await environmentSecrets({ env: { [variable]: 'v' }, directory }).read(path))?.value.reveal(),
    ).toBe('v');
    const none = environmentSecrets({ env: {}, directory: join(directory, 'missing') });
    expect(await none.read(path)).toBeUndefined();
    expect(await none.list('')).toEqual([]);
  });
});

describe('writing', () => {
  test('is refused with what to do instead', async () => {
    const source = environmentSecrets({ env: {} });
    expect(source.writable).toBe(false);
    await expect(source.write(path, new Secret('x'))).rejects.toMatchObject({
      code: 'invalid_state',
      message: `These secrets can only be read. Set ${variable} where Florin is started.`,
    });
    await expect(source.remove(path)).rejects.toMatchObject({ code: 'invalid_state' });
  });
});

describe('openSecrets', () => {
  const encryption = { masterKey: new Secret(Buffer.alloc(32, 1).toString('base64')) };
  const surroundings = { env: { [variable]: 'v' }, clock: { now: () => new Date(0) } };

  test('opens what the configuration names', async () => {
    const environment = openSecrets({ secrets: { source: 'environment' }, encryption }, surroundings);
    expect((await environment.read(path))?.value.reveal()).toBe('v');
    const file = openSecrets(
      { secrets: { source: 'file', file: join(await folder(), 'secrets') }, encryption },
      surroundings,
    );
    await file.write(path, new Secret('w'));
    expect((await file.read(path))?.value.reveal()).toBe('w');
    expect(() => openSecrets({ secrets: { source: 'file' }, encryption }, surroundings)).toThrow(
      'secrets.file has to name',
    );
  });
});
