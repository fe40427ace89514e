import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import lint from '../../oxlint.config.ts';
import { rootDirectory } from '../src/lib/config/config.ts';

/** The house rules that the linter can't see. Every failure names the file, and the line where there is one. */

const notOurs = new Set(['node_modules', '.git', '.florin', 'coverage', 'certs']);

const filesBelow = (folder: string): string[] =>
  readdirSync(join(rootDirectory, folder), { withFileTypes: true }).flatMap((entry) => {
    if (notOurs.has(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(path) : [path];
  });

const files = filesBelow('.');
const read = (path: string): string => readFileSync(join(rootDirectory, path), 'utf8');
const linesOf = (path: string): string[] => read(path).split('\n');

const code = files.filter((path) => /\.(ts|mjs)$/.test(path));
const sqlFiles = files.filter((path) => path.endsWith('.sql'));
const pages = files.filter((path) => path.endsWith('.md'));
const tests = code.filter((path) => path.endsWith('.test.ts'));
const product = code.filter((path) => path.startsWith('server/src/') && !/\.(test|testing)\.ts$/.test(path));

/** Every line that matches, as `path:line`. */
const linesWith = (
  paths: readonly string[],
  matches: (line: string, lines: string[], index: number) => boolean,
): string[] =>
  paths.flatMap((path) => {
    const lines = linesOf(path);
    return lines.flatMap((line, index) =>
      matches(line, lines, index) ? [`${path}:${String(index + 1)}`] : [],
    );
  });

describe('code', () => {
  test('nothing is left to do later', () => {
    const marks = /\b(TO[D]O|FIXM[E]|HAC[K])\b/;
    expect(linesWith([...code, ...sqlFiles, ...pages], (line) => marks.test(line))).toEqual([]);
  });

  test('no file of code is longer than 400 lines', () => {
    expect(code.filter((path) => linesOf(path).length > 401)).toEqual([]);
  });

  test('only lib/config reads the environment of the process', () => {
    const reads = (line: string): boolean => /\bprocess\.env\b/.test(line);
    const found = linesWith(product, reads).filter((place) => !place.startsWith('server/src/lib/config/'));
    expect(found).toEqual([]);
  });

  test('a type that is asserted has its reason in a comment', () => {
    // `JSON.parse` and the lists of an object's keys know less than their caller does: that needs no saying.
    const asserts = /[)\]}\w] as (?!const\b)(unknown|string|number|never|keyof|typeof|readonly|[A-Z]\w*|\{)/;
    const knowsLess = /JSON\.parse\(|Object\.(keys|entries|fromEntries)\(/;
    const isUnexplained = (line: string, lines: string[], index: number): boolean => {
      if (/^\s*(\*|\/\*|\/\/|import |export \{)/.test(line)) return false;
      const bare = line.replaceAll(/'[^']*'|`[^`]*`|\/\/.*$/g, "''");
      if (!asserts.test(bare) || knowsLess.test(line)) return false;
      return !lines.slice(Math.max(0, index - 3), index + 1).some((near) => /\/\/|^\s*\/?\*/.test(near));
    };
    expect(linesWith(product, isUnexplained)).toEqual([]);
  });

  test('every test file expects something', () => {
    expect(tests.length).toBeGreaterThan(40);
    expect(tests.filter((path) => !/\b(expect|assert)\b\s*[.(]/.test(read(path)))).toEqual([]);
  });
});

describe('SQL', () => {
  test('migrations are numbered without gaps', () => {
    const names = sqlFiles
      .filter((path) => dirname(path) === 'server/migrations')
      .map((path) => basename(path))
      .sort();
    expect(names.length).toBeGreaterThan(0);
    const isNext = (name: string, index: number): boolean =>
      new RegExp(`^${String(index + 1).padStart(4, '0')}_[a-z0-9-]+\\.sql$`).test(name);
    expect(names.filter((name, index) => !isNext(name, index))).toEqual([]);
  });

  test('a file of functions/ defines exactly the function of its path', () => {
    const functions = sqlFiles.filter((path) => path.startsWith('server/functions/'));
    expect(functions.length).toBeGreaterThan(0);
    const wrong = functions.flatMap((path) => {
      const named = `${basename(dirname(path))}.${basename(path, '.sql')}`;
      const defined = [
        ...read(path).matchAll(/^create or replace (?:function|procedure) ([\w.]+)\s*\(/gim),
      ].map(([, name]) => name);
      return defined.length === 1 && defined[0] === named ? [] : [`${path} defines ${defined.join(', ')}`];
    });
    expect(wrong).toEqual([]);
  });
});

describe('documents', () => {
  test('every link to a file of this repository leads somewhere', () => {
    const broken = pages.flatMap((page) =>
      linksOf(page)
        .filter((link) => !/^[a-z]+:/.test(link))
        .filter((link) => !leadsSomewhere(page, link))
        .map((link) => `${page}: ${link}`),
    );
    expect(broken).toEqual([]);
  });

  test('every file that a document names in code exists', () => {
    const named = /`((?:server|bin|scripts|config|docs|\.ci|\.github)\/[\w./-]+\.\w+)`/g;
    const missing = pages.flatMap((page) =>
      [...read(page).matchAll(named)]
        .map(([, path = '']) => path)
        .filter((path) => !existsSync(join(rootDirectory, path)))
        .map((path) => `${page}: ${path}`),
    );
    expect(missing).toEqual([]);
  });

  test('the README names the two commands', () => {
    expect(read('README.md')).toContain('npm start');
    expect(read('README.md')).toContain('npm test');
  });

  test('ARCHITECTURE.md and the linter know every folder of server/src', () => {
    const folders = [
      ...new Set(product.map((path) => relative('server/src', path).split('/')[0] ?? '')),
    ].sort();
    const page = read('ARCHITECTURE.md');
    expect(
      folders.filter((folder) => !page.includes(`\`${folder}\``) && !page.includes(`${folder}/`)),
    ).toEqual([]);
    const ruled = (lint.overrides ?? []).flatMap(({ files: globs }) => globs);
    expect(folders.filter((folder) => !ruled.includes(`server/src/${folder}/**/*.ts`))).toEqual([]);
  });

  test('every variable that a document names is a setting', () => {
    const reference = read('docs/configuration.md');
    const unknown = pages
      .filter((page) => page !== 'docs/configuration.md')
      .flatMap((page) =>
        [...read(page).matchAll(/PAYMENTS_[A-Z0-9_]*[A-Z0-9]\b(?!_?[*…<])/g)].map(([name]) => ({
          page,
          name,
        })),
      )
      .filter(({ name }) => !reference.includes(name.replace(/_FILE$/, '')))
      .map(({ page, name }) => `${page}: ${name}`);
    expect(unknown).toEqual([]);
  });
});

describe('delivery', () => {
  type Lock = {
    packages: Record<string, { resolved?: string; link?: boolean; integrity?: string; inBundle?: boolean }>;
  };
  const locks = files.filter((path) => /(^|\/)(package-lock|npm-shrinkwrap)\.json$/.test(path));

  test('the lock file pins every package by its content and says nothing of where it came from', () => {
    expect(locks).toEqual(['package-lock.json']);
    const { packages } = JSON.parse(read('package-lock.json')) as Lock;
    const installed = Object.entries(packages).filter(
      ([path, { link }]) => path.includes('node_modules/') && !link,
    );
    expect(installed.length).toBeGreaterThan(100);
    const isOdd = ({ resolved, integrity, inBundle }: Lock['packages'][string]): boolean =>
      resolved !== undefined || (!inBundle && integrity?.startsWith('sha512-') !== true);
    expect(installed.filter(([, entry]) => isOdd(entry)).map(([path]) => path)).toEqual([]);
    expect(linesWith(locks, (line) => /"resolved": "\w+:/.test(line))).toEqual([]);
  });

  test('no file names a package registry', () => {
    const host = /\bregistry\.[a-z0-9-]+\.[a-z]{2,}\b|_authToken|^registry\s*=/i;
    const own = ['server/test/tidy.test.ts'];
    const texts = files.filter(
      (path) => /(\.(json|ya?ml|ts|mjs|sh|md)|npmrc|\/run)$/.test(path) && !own.includes(path),
    );
    expect(linesWith(texts, (line) => host.test(line))).toEqual([]);
  });

  test('workflows are valid YAML and call only scripts that package.json has', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const workflows = files.filter((path) => path.startsWith('.github/workflows/'));
    expect(workflows.length).toBeGreaterThan(0);
    const commands = workflows.flatMap((path) => commandsOf(parse(read(path)) as Workflow));
    const called = [...commands, read('.ci/run')].flatMap((text) =>
      [...text.matchAll(/\bnpm (?:run )?([\w:-]+)/g)].map(([, name = '']) => name),
    );
    expect(called).toContain('test');
    expect(called.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });

  test('documents call only scripts that package.json has', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const ofNpm = ['install', 'ci', 'run'];
    const called = pages.flatMap((page) =>
      [...read(page).matchAll(/^(?:\$ )?npm (?:run )?([\w:-]+)|`npm (?:run )?([\w:-]+)[^`]*`/gm)].map(
        ([, first, second]) => ({
          page,
          name: first ?? second ?? '',
        }),
      ),
    );
    const unknown = called.filter(
      ({ page, name }) =>
        !page.endsWith('guides.md') && !ofNpm.includes(name) && !Object.hasOwn(scripts, name),
    );
    expect(unknown).toEqual([]);
  });
});

type Workflow = { jobs: Record<string, { steps: { run?: string }[] }> };

const commandsOf = ({ jobs }: Workflow): string[] =>
  Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ run }) => (run === undefined ? [] : [run])));

/** Targets of Markdown links, outside of code. */
const linksOf = (page: string): string[] => {
  const text = read(page)
    .replaceAll(/^```.*?^```/gms, '')
    .replaceAll(/`[^`\n]*`/g, '');
  return [...text.matchAll(/\]\(<?([^)\s>]+)>?\)/g)].map(([, link = '']) => link);
};

const leadsSomewhere = (page: string, link: string): boolean => {
  const [path = '', heading] = link.split('#');
  const target = path === '' ? page : join(dirname(page), path);
  if (!existsSync(join(rootDirectory, target))) return false;
  return heading === undefined || !target.endsWith('.md') || headingsOf(target).includes(heading);
};

/** As forges name the anchors of headings: small letters, digits and hyphens. */
const headingsOf = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
