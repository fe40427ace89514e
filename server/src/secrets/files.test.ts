import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { manualClock } from '../lib/clock.ts';
import { newKey, type Key } from '../lib/crypto.ts';
import { Secret } from '../lib/secret.ts';
import { fileSecrets } from './files.ts';
import { withFileLock } from './lock.ts';

const path = 'payment-system/vendors/xyz-vendor/client-secret';
const clock = manualClock('2026-11-22T08:00:00Z');
const secret = new Secret('vendor_client_secret');

/** A folder that is gone when the test is over. */
const folder = async (): Promise<string> => {
  const made = await mkdtemp(join(tmpdir(), 'florin-secrets-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
};

const somewhere = async (): Promise<string> => join(await folder(), 'state', 'secrets.enc');

const openAt = (file: string, key: Key, previous?: Key) =>
  fileSecrets({ file, master: { current: key, previous }, clock, versionsMax: 3 });

describe('an encrypted file of secrets', () => {
  test('a secret is read back, by another process too, and stands nowhere in the file', async () => {
    const [file, key] = [await somewhere(), newKey()];
    const source = openAt(file, key);
    expect(await source.read(path)).toBeUndefined();
    const version = await source.write(path, secret);
    for (const reader of [source, openAt(file, key)]) {
      const found = await reader.read(path);
      expect(found).toMatchObject({ version, createdAt: clock.now() });
      expect(found?.value.reveal()).toBe('vendor_client_secret');
    }
    expect(await readFile(file, 'latin1')).not.toMatch(/vendor/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(file, '..'))).toEqual(['secrets.enc']);
  });

  test('the last versions stay readable, newest first, and a version name is never used twice', async () => {
    const source = openAt(await somewhere(), newKey());
    const made: string[] = [];
    for (const value of ['one', 'two', 'three', 'four'])
      made.push(await source.write(path, new Secret(value)));
    expect((await source.versions(path)).map(({ version }) => version)).toEqual(made.slice(1).toReversed());
    expect((await source.read(path))?.value.reveal()).toBe('four');
    expect((await source.read(path, made[1]))?.value.reveal()).toBe('two');
    expect(await source.read(path, made[0])).toBeUndefined();
    await source.remove(path);
    expect(await source.versions(path)).toEqual([]);
    expect(made).not.toContain(await source.write(path, secret));
  });

  test('paths are listed by folder, sorted, in pages', async () => {
    const source = openAt(await somewhere(), newKey());
    for (const each of ['a/c', 'a/b', 'ab/c', 'a']) await source.write(each, secret);
    expect(await source.list('')).toEqual(['a', 'a/b', 'a/c', 'ab/c']);
    expect(await source.list('a')).toEqual(['a', 'a/b', 'a/c']);
    expect(await source.list('a', { limit: 1, after: 'a' })).toEqual(['a/b']);
    expect(await source.list('b')).toEqual([]);
  });

  test('what another process wrote is seen by the next read', async () => {
    const [file, key] = [await somewhere(), newKey()];
    const [one, two] = [openAt(file, key), openAt(file, key)];
    for (let round = 0; round < 20; round++) {
      await one.write(path, new Secret(`value ${round}`));
      expect((await two.read(path))?.value.reveal()).toBe(`value ${round}`);
    }
  });

  test('40 writes from two processes and both their queues are all kept', async () => {
    const [file, key] = [await somewhere(), newKey()];
    const module = (name: string): string =>
      JSON.stringify(pathToFileURL(join(import.meta.dirname, name)).href);
    const script = `
      const { fileSecrets } = await import(${module('files.ts')});
      const { keyFrom } = await import(${module('../lib/crypto.ts')});
      const { Secret } = await import(${module('../lib/secret.ts')});
      const master = { current: keyFrom(new Secret(process.env.KEY)) };
      const clock = { now: () => new Date(0) };
      const source = fileSecrets({ file: ${JSON.stringify(file)}, master, clock });
      await Promise.all(Array.from({ length: 20 }, (_, i) => source.write('child/' + i, new Secret('x'))));
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      env: { KEY: key.secret.export().toString('base64') },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    const source = openAt(file, key);
    await Promise.all(Array.from({ length: 20 }, (_, i) => source.write(`parent/${i}`, secret)));
    expect(await exited).toBe(0);
    expect(await source.list('')).toHaveLength(40);
    expect(await readdir(join(file, '..'))).toEqual(['secrets.enc']);
  });
});

describe('a damaged file', () => {
  test('one that was altered, cut off or emptied is named in the cause, refused, and not overwritten', async () => {
    const [file, key] = [await somewhere(), newKey()];
    const source = openAt(file, key);
    await source.write(path, secret);
    const whole = await readFile(file);
    const altered = Buffer.from(whole);
    altered.writeUInt8(altered.readUInt8(60) ^ 1, 60);
    for (const damaged of [
      altered,
      whole.subarray(0, -1),
      whole.subarray(0, 30),
      Buffer.alloc(0),
      Buffer.from('plain'),
    ]) {
      await writeFile(file, damaged);
      const failure = await source.read(path).catch((error: unknown) => error);
      expect(failure).toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('altered, cut off'),
      });
      expect(inspect(failure, { depth: 5 })).toContain(file);
      expect(inspect(failure, { depth: 5, showHidden: true })).not.toContain('vendor_client');
      await expect(source.write(path, secret)).rejects.toMatchObject({ code: 'unavailable' });
      expect((await readFile(file)).equals(damaged)).toBe(true);
    }
    await writeFile(file, whole);
    expect((await source.read(path))?.value.reveal()).toBe('vendor_client_secret');
    await truncate(file, whole.length - 5);
    await expect(source.read(path)).rejects.toThrow('cut off');
  });

  test('one that disappears is a loss, not an empty beginning', async () => {
    const file = await somewhere();
    const source = openAt(file, newKey());
    await source.write(path, secret);
    expect(await source.list('')).toEqual([path]);
    await rm(file);
    await expect(source.read(path)).rejects.toThrow('removed');
    await expect(source.write(path, secret)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a new master key reads what the previous one wrote and seals the next write; a foreign key is refused', async () => {
    const [file, old, current] = [await somewhere(), newKey(), newKey()];
    await openAt(file, old).write(path, secret);
    await expect(openAt(file, current).read(path)).rejects.toThrow('another master key');
    await openAt(file, current, old).write('another/secret', secret);
    expect((await openAt(file, current).read(path))?.value.reveal()).toBe('vendor_client_secret');
  });
});

describe('the lock', () => {
  test('one left by a process that is gone is taken over, with nothing left behind', async () => {
    const file = await somewhere();
    const source = openAt(file, newKey());
    await source.write(path, secret);
    const child = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => child.once('exit', resolve));
    await writeFile(`${file}.lock`, JSON.stringify({ pid: child.pid, host: hostname(), token: 'gone' }));
    await source.write(path, secret);
    expect(await readdir(join(file, '..'))).toEqual(['secrets.enc']);
  });

  test('a living holder is waited for, and the wait has an end', async () => {
    const file = join(await folder(), 'secrets.enc');
    await withFileLock(file, async () => {
      await expect(withFileLock(file, async () => 'in', { timeoutMs: 50 })).rejects.toMatchObject({
        code: 'unavailable',
        retryAfterS: 1,
      });
    });
    expect(await withFileLock(file, async () => 'in')).toBe('in');
  });

  test('a holder that lost its lock does not commit', async () => {
    const file = join(await folder(), 'secrets.enc');
    await withFileLock(file, async (assertHeld) => {
      await assertHeld();
      await writeFile(`${file}.lock`, 'taken over');
      await expect(assertHeld()).rejects.toMatchObject({ code: 'unavailable' });
    });
    expect(await readFile(`${file}.lock`, 'utf8')).toBe('taken over');
  });
});

describe('bad input', () => {
  test.each([
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '../a',
    'a/../b',
    'a/.b',
    'a b',
    'a\u0000',
    'ä',
    'a\n',
    'x'.repeat(513),
  ])('the path %j is refused by every call', async (bad) => {
    const source = openAt(await somewhere(), newKey());
    const refusal = { code: 'invalid_request', faults: [{ field: 'path' }] };
    await expect(source.read(bad)).rejects.toMatchObject(refusal);
    await expect(source.versions(bad)).rejects.toMatchObject(refusal);
    await expect(source.write(bad, secret)).rejects.toMatchObject(refusal);
    await expect(source.remove(bad)).rejects.toMatchObject(refusal);
    if (bad !== '') await expect(source.list(bad)).rejects.toMatchObject(refusal);
  });

  test('an empty or oversized value is refused', async () => {
    const source = openAt(await somewhere(), newKey());
    for (const value of ['', 'é'.repeat(32_769)]) {
      await expect(source.write(path, new Secret(value))).rejects.toMatchObject({
        faults: [{ field: 'value' }],
      });
    }
    await source.write(path, new Secret('é'.repeat(32_768)));
  });

  test('a path that is a member of every object is a path like any other', async () => {
    const [file, key] = [await somewhere(), newKey()];
    await openAt(file, key).write('__proto__', secret);
    expect((await openAt(file, key).read('__proto__'))?.value.reveal()).toBe('vendor_client_secret');
    expect(await openAt(file, key).read('constructor')).toBeUndefined();
  });
});
