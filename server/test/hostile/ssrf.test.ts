import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { OutboundError, openOutbound, type Outbound } from '../../src/lib/outbound/outbound.ts';
import { requestTo, startReceiver, type Receiver } from '../../src/lib/outbound/testing.ts';

/*
 * Whoever chooses the address of a webhook has us make requests from inside the network. A canary listens on every address
 * of this machine, and Node.js tells of every socket that is made: neither may see anything, whatever the address looks like.
 */
let canary: Receiver;
let sockets = 0;
const onSocket = (): void => {
  sockets += 1;
};

beforeAll(async () => {
  canary = await startReceiver((_request, response) => response.end('canary'), { host: '0.0.0.0' });
});
afterAll(() => canary[Symbol.asyncDispose]());
beforeEach(() => {
  sockets = 0;
  canary.connections = 0;
  subscribe('net.client.socket', onSocket);
});

const opened: Outbound[] = [];
afterEach(async () => {
  unsubscribe('net.client.socket', onSocket);
  for (const outbound of opened.splice(0)) await outbound.close();
});

type Options = Parameters<typeof openOutbound>[1];

/** A way out as in production, for which every name is what `lookup` says. */
const strict = (lookup: () => readonly string[] = () => [], options: Options = {}): Outbound => {
  const outbound = openOutbound(
    { allow: [], allowLoopback: false },
    { lookup: async () => lookup(), ...options },
  );
  opened.push(outbound);
  return outbound;
};

/** What became of a call: the code of the error, or the status. */
const outcomeOf = async (outbound: Outbound, url: string): Promise<string | number> => {
  try {
    return (await outbound.send(requestTo(url, { timeoutMs: 5_000 }))).status;
  } catch (error) {
    if (error instanceof OutboundError) return error.code;
    throw error;
  }
};

const expectNothingSeen = (): void =>
  expect({ sockets, seen: canary.connections }).toEqual({ sockets: 0, seen: 0 });

test('the canary sees what is allowed, and so would see what is not', async () => {
  const outbound = openOutbound({ allow: [], allowLoopback: true });
  opened.push(outbound);
  for (const host of ['127.0.0.1', 'localhost', '0x7f.1', '[::ffff:127.0.0.1]'])
    expect(await outcomeOf(outbound, `http://${host}:${canary.port}/`)).toBe(200);
  expect(canary.connections).toBeGreaterThan(0);
  expect(sockets).toBeGreaterThanOrEqual(canary.connections);
});

/** One address, in every notation in which it can stand in a URL. */
const notationsOf = (a: number, b: number, c: number, d: number): string[] => {
  const hex = (byte: number): string => `0x${byte.toString(16)}`;
  const octal = (byte: number): string => `0${byte.toString(8)}`;
  const low = c * 256 + d;
  const whole = ((a * 256 + b) * 256 + c) * 256 + d;
  const groups = `${(a * 256 + b).toString(16)}:${low.toString(16)}`;
  const plain = [a, b, c, d].join('.');
  return [
    plain,
    `${plain}.`,
    [a, b, c, d].map(hex).join('.'),
    [a, b, c, d].map(octal).join('.'),
    [hex(a), octal(b), c, d].join('.'),
    `${a}.${b}.${low}`,
    `${a}.${b * 65_536 + low}`,
    String(whole),
    `0x${whole.toString(16)}`,
    `0${whole.toString(8)}`,
    plain.replaceAll(/\d/g, (digit) => `%3${digit}`),
    plain.replaceAll(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit))),
    plain.replaceAll('.', '。'),
    `[::ffff:${plain}]`,
    `[::ffff:${groups}]`,
    `[0:0:0:0:0:ffff:${groups}]`,
    `[::${plain}]`,
    `[::ffff:0:${plain}]`,
    `[64:ff9b::${plain}]`,
    `[64:ff9b:1::${plain}]`,
    `[2002:${groups}::]`,
    `[2002:${groups}::1]`,
    `[2001:0:${groups}::]`,
  ];
};

const addresses: Readonly<Record<string, [number, number, number, number]>> = {
  loopback: [127, 0, 0, 1],
  'loopback, another': [127, 1, 2, 3],
  unspecified: [0, 0, 0, 0],
  'private 10/8': [10, 0, 0, 1],
  'private 172.16/12': [172, 16, 0, 1],
  'private 172.31/16': [172, 31, 255, 254],
  'private 192.168/16': [192, 168, 1, 1],
  'link-local': [169, 254, 1, 1],
  'metadata of clouds': [169, 254, 169, 254],
  'metadata of containers': [169, 254, 170, 2],
  'behind a carrier': [100, 64, 0, 1],
  'metadata of Alibaba': [100, 100, 100, 200],
  'metadata of Oracle': [192, 0, 0, 192],
  'the machine below, Azure': [168, 63, 129, 16],
  documentation: [203, 0, 113, 1],
  benchmarks: [198, 18, 0, 1],
  multicast: [224, 0, 0, 1],
  reserved: [240, 0, 0, 1],
  broadcast: [255, 255, 255, 255],
};

const ipv6: readonly string[] = [
  '[::]',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[fc00::1]',
  '[fd00::1]',
  '[fd00:ec2::254]',
  '[fe80::1]',
  '[fec0::1]',
  '[ff02::1]',
  '[100::1]',
  '[2001:db8::1]',
  '[2001::1]',
  '[3fff::1]',
  '[5f00::1]',
  '[4000::1]',
];

describe('an address that is not public gets no connection:', () => {
  test.each(Object.entries(addresses))('%s, in every notation', async (_name, bytes) => {
    const outbound = strict();
    for (const host of notationsOf(...bytes)) {
      const url = `https://${host}:${canary.port}/`;
      expect.soft(await outcomeOf(outbound, url), url).toBe('address_refused');
      expect.soft(() => outbound.checkUrl(url, 'url'), url).toThrow(/no public address was found/);
    }
    expectNothingSeen();
  });

  test.each(Object.entries(addresses))('%s, as the answer of a name server', async (_name, [a, b, c, d]) => {
    const plain = [a, b, c, d].join('.');
    for (const answer of [plain, `::ffff:${plain}`, `::${plain}`, `64:ff9b::${plain}`]) {
      const outbound = strict(() => [answer]);
      const outcome = await outcomeOf(outbound, `https://shop.example:${canary.port}/`);
      expect.soft(outcome, answer).toBe('address_refused');
    }
    expectNothingSeen();
  });

  test('IPv6, in a URL and as the answer of a name server', async () => {
    for (const host of ipv6) {
      expect.soft(await outcomeOf(strict(), `https://${host}:${canary.port}/`), host).toBe('address_refused');
      const outbound = strict(() => [host.slice(1, -1)]);
      const outcome = await outcomeOf(outbound, `https://shop.example:${canary.port}/`);
      expect.soft(outcome, host).toBe('address_refused');
    }
    expectNothingSeen();
  });

  test('localhost, by any of its names', async () => {
    const lookup = (): string[] => ['127.0.0.1'];
    for (const host of ['localhost', 'LocalHost', 'localhost.', 'a.b.localhost', 'ⓛocalhost'])
      expect
        .soft(await outcomeOf(strict(lookup), `https://${host}:${canary.port}/`), host)
        .toBe('address_refused');
    expectNothingSeen();
  });
});

describe('a name server that means ill gets no connection:', () => {
  test('one private address among public ones', async () => {
    for (const answer of [
      ['8.8.8.8', '127.0.0.1'],
      ['127.0.0.1', '8.8.8.8'],
      ['2606:4700::1111', '8.8.8.8', '::1'],
      [...Array.from({ length: 100 }, (_, index) => `8.8.8.${index}`), '10.0.0.1'],
    ]) {
      const outbound = strict(() => answer);
      expect(await outcomeOf(outbound, `https://shop.example:${canary.port}/`)).toBe('address_refused');
    }
    expectNothingSeen();
  });

  test('answers that are no addresses', async () => {
    for (const answer of ['', 'localhost', '0177.0.0.1', '127.1', '2130706433', '::1%lo', '127.0.0.1\0'])
      expect(
        await outcomeOf(
          strict(() => [answer]),
          `https://shop.example:${canary.port}/`,
        ),
      ).toBe('address_refused');
    expect(
      await outcomeOf(
        strict(() => []),
        `https://shop.example:${canary.port}/`,
      ),
    ).toBe('address_refused');
    expectNothingSeen();
  });

  test('a public address when it is checked, this machine from then on', async () => {
    let asked = 0;
    const lookup = (): string[] => {
      asked += 1;
      return asked === 1 ? ['192.0.2.1'] : ['127.0.0.1'];
    };
    // TEST-NET, where nobody is, stands for the public address; the connection to it has no answer.
    const clock = manualClock('2026-11-22T08:00:00Z');
    const outbound = openOutbound(
      { allow: ['192.0.2.1'], allowLoopback: false },
      { lookup: async () => lookup(), clock },
    );
    opened.push(outbound);
    const url = `https://rebind.example:${canary.port}/`;
    const first = outbound.send(requestTo(url, { timeoutMs: 200 }));
    await expect(first).rejects.toMatchObject({ code: expect.stringMatching(/^(timeout|connection|tls)$/) });
    expect({ asked, seen: canary.connections }).toEqual({ asked: 1, seen: 0 });
    clock.advance(5_000);
    expect(await outcomeOf(outbound, url)).toBe('address_refused');
    expect({ asked, seen: canary.connections }).toEqual({ asked: 2, seen: 0 });
  });

  test('what is checked is what is called: the name is not resolved a second time', async () => {
    // `localhost` is this machine for the system; were it asked, the canary would see the call.
    const outbound = openOutbound(
      { allow: ['192.0.2.1', 'localhost'], allowLoopback: false },
      { lookup: async () => ['192.0.2.1'] },
    );
    opened.push(outbound);
    const sent = outbound.send(requestTo(`https://localhost:${canary.port}/`, { timeoutMs: 200 }));
    await expect(sent).rejects.toBeInstanceOf(OutboundError);
    expect(canary.connections).toBe(0);
    expect(sockets).toBeGreaterThan(0);
  });

  test('a name that is public over https and this machine over http', async () => {
    const outbound = openOutbound({ allow: [], allowLoopback: true }, { lookup: async () => ['8.8.8.8'] });
    opened.push(outbound);
    expect(await outcomeOf(outbound, `http://localhost:${canary.port}/`)).toBe('address_refused');
    expectNothingSeen();
  });
});

test('a redirect to this machine is an answer, and is not followed', async () => {
  const target = `http://127.0.0.1:${canary.port}/`;
  await using redirecting = await startReceiver((request, response) => {
    response
      .writeHead(Number(request.url?.slice(1)), { location: target, refresh: `0; url=${target}` })
      .end();
  });
  const outbound = openOutbound({ allow: [], allowLoopback: true });
  opened.push(outbound);
  for (const status of [300, 301, 302, 303, 305, 307, 308]) {
    const url = `http://127.0.0.1:${redirecting.port}/${status}`;
    expect(await outcomeOf(outbound, url)).toBe(status);
  }
  expect(canary.connections).toBe(0);
  expect(redirecting.connections).toBeGreaterThan(0);
});

describe('a URL that says one thing and means another gets no connection:', () => {
  const refusedUrls = (port: number): string[] => [
    `https://shop.example@127.0.0.1:${port}/`,
    `https://127.0.0.1:${port}@shop.example/`,
    `https://shop.example:${port}@localhost/`,
    `https://user:password@shop.example:${port}/`,
    `https://shop.example:${port}\\@127.0.0.1/x`.replace('shop.example', 'localhost'),
    `https:127.0.0.1:${port}`,
    `https:\\\\127.0.0.1:${port}\\`,
    `ht\ntps://127.0.0.1:${port}/`,
    `http://shop.example:${port}/`,
    `http://127.0.0.1:${port}/`,
    `ftp://127.0.0.1:${port}/`,
    `ws://127.0.0.1:${port}/`,
    `file://127.0.0.1/etc/passwd`,
    `gopher://127.0.0.1:${port}/_GET`,
    `unix:/var/run/docker.sock`,
    `data:text/plain,x`,
    `//127.0.0.1:${port}/`,
    `127.0.0.1:${port}`,
    'https://',
    '',
  ];

  test('credentials, schemes, slashes', async () => {
    const lookup = (): string[] => ['8.8.8.8'];
    for (const url of refusedUrls(canary.port)) {
      expect.soft(await outcomeOf(strict(lookup), url), url).toBe('address_refused');
      expect.soft(() => strict().checkUrl(url, 'url'), url).toThrow(/^url: /);
    }
    expectNothingSeen();
  });

  test('ports of other protocols', async () => {
    for (const port of [0, 7, 22, 23, 25, 53, 69, 110, 111, 135, 143, 389, 465, 587, 993, 2049, 6000, 6667]) {
      const url = `https://shop.example:${port}/`;
      expect
        .soft(
          await outcomeOf(
            strict(() => ['8.8.8.8']),
            url,
          ),
          url,
        )
        .toBe('address_refused');
    }
    expectNothingSeen();
  });
});

test('what is refused reads the same whatever is behind it, and names none of it', async () => {
  const refusalOf = (outbound: Outbound, url: string): Promise<string> =>
    outbound.send(requestTo(url)).then(
      () => 'answered',
      (error: Error) => error.message,
    );
  const closed = await startReceiver(() => undefined);
  await closed[Symbol.asyncDispose]();
  const messages = new Set([
    await refusalOf(strict(), `https://127.0.0.1:${canary.port}/`),
    await refusalOf(strict(), `https://127.0.0.1:${closed.port}/`),
    await refusalOf(strict(), 'https://169.254.169.254/latest/meta-data/'),
    await refusalOf(
      strict(() => ['10.0.0.7']),
      'https://jenkins.internal/',
    ),
    await refusalOf(
      strict(() => {
        throw new Error('getaddrinfo ENOTFOUND nowhere.internal 10.0.0.2:53');
      }),
      'https://nowhere.internal/',
    ),
  ]);
  expect([...messages]).toEqual([expect.stringMatching(/^no public address was found for this host/)]);
  expect([...messages].join('')).not.toMatch(/\d+\.\d+\.\d+|internal/);
});
