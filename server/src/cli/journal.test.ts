import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'kysely';
import { beforeAll, describe, expect, test } from 'vitest';
import { sealAll, testEntry, writeEntries } from '../journal/testing.ts';
import { appendEntries } from '../journal/journal.ts';
import { systemClock } from '../lib/clock.ts';
import { keyFrom } from '../lib/crypto.ts';
import { toUuid } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import { fileSecrets } from '../secrets/files.ts';
import type { SecretSource } from '../secrets/source.ts';
import {
  ending,
  masterKey,
  operatorEnv,
  operatorForTests,
  run,
  wholeProgram,
  type Ending,
} from './operator.testing.ts';

const operator = operatorForTests();
const at = (name: string): string => join(operator.folder, name);
let secrets: SecretSource;
beforeAll(() => {
  const master = { current: keyFrom(new Secret(masterKey)) };
  secrets = fileSecrets({ file: at('secrets'), master, clock: systemClock });
});

/** Runs a command as an operator does, against the test database. */
const florin = (...argv: string[]): Promise<Ending> =>
  ending(run(wholeProgram, argv, operatorEnv(operator.database, operator.folder)));

/** Runs a command as an auditor does, who has the program and nothing else. */
const auditor = (...argv: string[]): Promise<Ending> =>
  ending(run(wholeProgram, argv, { PATH: process.env['PATH'] }));

describe('florin journal', () => {
  test(
    'from the first head to a proof that an auditor checks, over a change of keys',
    { timeout: 120_000 },
    async () => {
      expect(await florin('journal', 'head')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('no signed head yet'),
      });
      const entry = testEntry();
      await appendEntries(operator.database.db, [entry]);
      await sealAll(operator.database, { secrets });
      const kept = await florin('journal', 'head', '--json');
      expect(JSON.parse(kept.stdout)).toMatchObject({ number: '1', size: '1' });
      await writeFile(at('head.json'), kept.stdout);
      await writeFile(at('keys.pem'), (await florin('journal', 'keys')).stdout);

      const rotated = await florin('journal', 'rotate-key');
      expect(rotated.stdout).toMatch(/Heads are signed by [0-9a-f]{32} and [0-9a-f]{32} within/);
      // The new key has to have signed before the old one goes.
      expect(await florin('journal', 'rotate-key', '--finish')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('The newest key has signed no head yet'),
      });
      await sealAll(operator.database, { secrets });
      expect((await florin('journal', 'rotate-key', '--finish')).stdout).toMatch(
        /signed by [0-9a-f]{32} within/,
      );
      await writeEntries(operator.database.db, 10);
      await sealAll(operator.database, { secrets });
      expect((await florin('journal', 'head')).stdout).toMatch(
        /^Head {7}3\nEntries {4}13\nRoot {7}[0-9a-f]{64}\nTime .*\nSigned by {2}[0-9a-f]{32}\n$/,
      );

      const made = await florin(
        'journal',
        'proof',
        entry.object?.id ?? '',
        '--since',
        '1',
        '--output',
        at('proof.json'),
      );
      expect(made.stdout).toContain('vendor.updated, position 0 of 13');
      const checked = await auditor(
        'journal',
        'check',
        at('proof.json'),
        '--key',
        at('keys.pem'),
        '--head',
        at('head.json'),
      );
      expect(checked).toMatchObject({ code: 0, stdout: expect.stringContaining('The proof holds.') });
      expect(checked.stdout).toContain('for which the key that you gave vouches');
      expect(checked.stdout).toContain('The head that you kept, 1 entries, is a head of this log.');

      const forged = (await readFile(at('proof.json'), 'utf8'))
        .replace('client:test', 'client:else')
        .replace('system:test', 'system:else');
      await writeFile(at('forged.json'), forged);
      expect(await auditor('journal', 'check', at('forged.json'))).toMatchObject({
        code: 1,
        stdout: expect.stringMatching(/WRONG {5}The entry evt_\w+ was altered[^]*The proof does not hold\./),
      });
    },
  );

  test('says what is wrong with what it is given', async () => {
    expect((await florin('journal', 'proof', 'payment')).stderr).toContain('"payment" is no id');
    expect((await florin('journal', 'proof', 'pay_01h455vb4pex5vsknk084sn02q')).stderr).toContain(
      'has no entry',
    );
    await writeFile(at('none.json'), '{}');
    expect((await auditor('journal', 'check', at('none.json'))).stderr).toContain(
      'This is not a proof of the journal',
    );
    expect((await auditor('journal', 'check', at('none.json'), '--key', at('none.json'))).code).toBe(1);
  });
});

describe('florin audit verify', () => {
  test(
    'and ledger verify agree on honest books, also since a head; both name what was altered',
    { timeout: 120_000 },
    async () => {
      for (const argv of [
        ['audit', 'verify'],
        ['ledger', 'verify'],
        ['audit', 'verify', '--since', at('head.json')],
      ]) {
        const { code, stdout, stderr } = await florin(...argv);
        expect({ code, stderr, stdout }).toMatchObject({
          code: 0,
          stderr: '',
          stdout: expect.stringContaining('Everything agrees.'),
        });
      }
      const [entry] = await writeEntries(operator.database.db, 1);
      await sealAll(operator.database, { secrets });
      await sql`update journal.entries set actor = 'client:someone' where id = ${toUuid(entry?.id ?? 'evt_')}`.execute(
        operator.database.superuser,
      );
      const { code, stdout } = await florin('audit', 'verify', '--json');
      expect(code).toBe(1);
      const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: { difference?: string }[] };
      expect(ok).toBe(false);
      expect(findings.flatMap(({ difference }) => difference ?? [])).toEqual([
        expect.stringContaining(`${entry?.id} (vendor.updated): it or its transfer was changed`),
      ]);
      expect((await florin('ledger', 'verify')).stdout).toContain('1 checks found a difference.');
    },
  );
});
