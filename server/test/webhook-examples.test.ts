import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eventTypes } from '../src/events/catalogue.ts';
import { rootDirectory } from '../src/lib/config/config.ts';
import type { Secret } from '../src/lib/secret.ts';
import { newSigningSecret, signedHeaders } from '../src/webhooks/signature.ts';

/* The examples by which receivers verify webhooks: as files that run, and as docs/webhooks.md quotes them. */

const folder = join(rootDirectory, 'examples', 'webhooks');
const page = await readFile(join(rootDirectory, 'docs', 'webhooks.md'), 'utf8');

const languages = [
  { name: 'TypeScript', fence: 'ts', file: 'verify.ts', run: [process.execPath, 'verify.ts'] },
  { name: 'Python', fence: 'python', file: 'verify.py', run: ['python3', 'verify.py'] },
  { name: 'Go', fence: 'go', file: 'verify.go', run: ['go', 'run', 'verify.go'] },
  { name: 'PHP', fence: 'php', file: 'verify.php', run: ['php', 'verify.php'] },
  { name: 'shell', fence: 'sh', file: 'verify.sh', run: ['sh', 'verify.sh'] },
] as const;

/** What each needs beside itself. */
const needs = { TypeScript: [], Python: ['python3'], Go: ['go'], PHP: ['php'], shell: ['sh', 'openssl'] };

const isHere = (command: string): boolean =>
  spawnSync('sh', ['-c', `command -v "$1"`, 'sh', command]).status === 0;

const body = JSON.stringify({
  id: 'evt_1',
  type: 'payment.succeeded',
  data: { reference: 'Zoë – 100 €\\n' },
});

type Message = { secret: Secret; body: string; headers: Record<string, string> };

const message = (changes: { at?: Date; secrets?: readonly Secret[] } = {}): Message => {
  const secret = newSigningSecret();
  const { at = new Date(), secrets = [secret] } = changes;
  return { secret, body, headers: signedHeaders(secrets, { id: 'evt_1', at, body }) };
};

/** Whether the example takes a message for genuine. @throws Error when it does not say so by ending with 0 or 1 */
const takes = async (run: readonly string[], { secret, body, headers }: Message): Promise<boolean> => {
  const [command = '', ...args] = run;
  const child = spawn(command, args, {
    cwd: folder,
    stdio: ['pipe', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      GOTOOLCHAIN: 'local',
      WEBHOOK_SECRET: secret.reveal(),
      WEBHOOK_ID: headers['webhook-id'],
      WEBHOOK_TIMESTAMP: headers['webhook-timestamp'],
      WEBHOOK_SIGNATURE: headers['webhook-signature'],
    },
  });
  let faults = '';
  child.stderr.on('data', (chunk: Buffer) => (faults += chunk.toString()));
  // An example that refuses a message by its time need not read the rest.
  child.stdin.on('error', () => undefined);
  child.stdin.end(body);
  const [status] = (await once(child, 'close')) as [number | null];
  if (status === 0 || status === 1) return status === 0;
  throw new Error(`${command} ended with ${status}: ${faults}`);
};

describe.each(languages)('$name', { timeout: 120_000 }, ({ name, run }) => {
  const missing = needs[name].filter((command) => !isHere(command));

  test.skipIf(missing.length > 0)('takes what Florin signs, and nothing else', async () => {
    const good = message();
    expect(await takes(run, good)).toBe(true);
    const [newest, before, other] = [newSigningSecret(), newSigningSecret(), newSigningSecret()];
    const rotating = message({ secrets: [newest, before] });
    const verdicts = await Promise.all(
      [
        { ...rotating, secret: newest },
        { ...rotating, secret: before },
        { ...rotating, secret: other },
        { ...good, body: good.body.replace('100', '900') },
        { ...good, body: `${good.body}\n` },
        { ...good, headers: { ...good.headers, 'webhook-id': 'evt_2' } },
        { ...good, headers: { ...good.headers, 'webhook-signature': '' } },
        { ...good, headers: { ...good.headers, 'webhook-timestamp': 'yesterday' } },
        message({ at: new Date(Date.now() - 330_000) }),
        message({ at: new Date(Date.now() + 330_000) }),
      ].map((one) => takes(run, one)),
    );
    expect(verdicts).toEqual([true, true, ...Array.from({ length: 8 }, () => false)]);
  });
});

describe('docs/webhooks.md', () => {
  test.each(languages)('quotes $file as it is', async ({ fence, file }) => {
    const source = (await readFile(join(folder, file), 'utf8')).trimEnd();
    expect(page).toContain(`\`\`\`${fence}\n${source}\n\`\`\``);
  });

  test('names every type of event with its title', () => {
    const missing = eventTypes.filter(({ type, title }) => !page.includes(`| \`${type}\` | ${title} |`));
    expect(missing.map(({ type }) => type)).toEqual([]);
  });
});
