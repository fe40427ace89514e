import { describe, expect, test } from 'vitest';
import { badPorts } from './ports.ts';
import { rulesOf } from './rules.ts';

const strict = rulesOf({ allow: [], allowLoopback: false });
const lenient = rulesOf({ allow: [], allowLoopback: true });

const faultOf = (url: string, rules = strict): string | undefined => rules.faultOf(new URL(url));

describe('a URL', () => {
  test('is https, on any port of HTTP, and may have a query', () => {
    for (const url of [
      'https://shop.example/hooks',
      'https://shop.example:8443/hooks?shop=1',
      'https://8.8.8.8/',
      'https://[2606:4700::1111]:8443/',
      'https://xn--bcher-kva.example./',
    ])
      expect.soft(faultOf(url), url).toBeUndefined();
  });

  test('with another scheme, credentials, or too long is refused, and it is said why', () => {
    expect(faultOf('http://shop.example/')).toBe('must begin with https://');
    expect(faultOf('http://localhost/')).toBe('must begin with https://');
    expect(faultOf('ftp://shop.example/')).toMatch(/^must begin with/);
    expect(faultOf('file:///etc/passwd')).toMatch(/^must begin with/);
    expect(faultOf('https://user@shop.example/')).toMatch(/user name or password/);
    expect(faultOf('https://:password@shop.example/')).toMatch(/user name or password/);
    expect(faultOf(`https://shop.example/${'x'.repeat(2048)}`)).toMatch(/2048 characters/);
  });

  test('with a port that browsers refuse is refused', async () => {
    for (const port of [22, 25, 53, 110, 143, 465, 587, 2049, 6000, 6667, 10_080])
      expect.soft(faultOf(`https://shop.example:${port}/`), String(port)).toMatch(/^port \d+ belongs/);
    // The list of the standard, as the fetch of Node.js has it.
    const causes = await Promise.all(
      [...badPorts]
        .filter((port) => port !== 0)
        .map((port) => fetch(`http://127.0.0.1:${port}`).catch((error: Error) => String(error.cause))),
    );
    expect(new Set(causes)).toEqual(new Set(['Error: bad port']));
    expect(badPorts.size).toBeGreaterThan(80);
  });

  test('with the name or an address of this machine is refused before it is stored', () => {
    const hosts = ['localhost', 'LOCALHOST', 'localhost.', 'a.localhost', '127.0.0.1', '127.1', '[::1]'];
    for (const host of [...hosts, '0x7f.0.0.1', '0', '[::ffff:127.0.0.1]'])
      expect.soft(faultOf(`https://${host}/`), host).toMatch(/^no public address was found/);
  });
});

describe('where loopback is allowed', () => {
  test('this machine may be called over http', () => {
    for (const host of ['localhost:4000', 'shop.localhost', '127.0.0.1', '127.9.9.9', '[::1]:3000'])
      expect.soft(faultOf(`http://${host}/`, lenient), host).toBeUndefined();
  });

  test('others may not be called over http, nor private ones at all', () => {
    expect(faultOf('http://shop.example/', lenient)).toMatch(/plain http is for receivers on this machine/);
    expect(faultOf('http://10.0.0.1/', lenient)).toMatch(/plain http/);
    expect(faultOf('http://0.0.0.0/', lenient)).toMatch(/plain http/);
    for (const host of ['10.0.0.1', '0.0.0.0', '169.254.169.254', '[::]', '[fd00::1]'])
      expect.soft(faultOf(`https://${host}/`, lenient), host).toMatch(/^no public address was found/);
  });
});

describe('what the operator allows', () => {
  const rules = rulesOf({
    allow: ['10.1.2.3', '10.9.0.0/16', 'fd00:1::/32', '2001:db8::7', 'hooks.internal', 'localhost'],
    allowLoopback: false,
  });

  test('addresses and networks, and nothing beside them', () => {
    for (const host of ['10.1.2.3', '10.9.255.255', '[fd00:1:ffff::1]', '[2001:db8::7]', '[::ffff:10.9.0.1]'])
      expect.soft(faultOf(`https://${host}/`, rules), host).toBeUndefined();
    for (const host of ['10.1.2.4', '10.10.0.0', '[fd00:2::1]', '[2001:db8::8]', '127.0.0.1'])
      expect.soft(faultOf(`https://${host}/`, rules), host).toMatch(/^no public address/);
  });

  test('a host by its name, whatever its addresses are', () => {
    expect(rules.check('hooks.internal', ['192.168.0.1', '8.8.8.8'])).toEqual({
      addresses: ['192.168.0.1', '8.8.8.8'],
      isLoopback: false,
    });
    expect(rules.check('other.internal', ['192.168.0.1'])).toBeUndefined();
    expect(rules.check('a.hooks.internal', ['192.168.0.1'])).toBeUndefined();
    expect(faultOf('https://localhost/', rules)).toBeUndefined();
  });

  test('not plain http', () => {
    expect(faultOf('http://10.1.2.3/', rules)).toBe('must begin with https://');
    expect(faultOf('http://hooks.internal/', rules)).toBe('must begin with https://');
  });
});

describe('the addresses of a host', () => {
  test('one that is not public spoils the others', () => {
    expect(strict.check('shop.example', ['8.8.8.8', '2606:4700::1111'])?.addresses).toHaveLength(2);
    expect(strict.check('shop.example', ['8.8.8.8', '10.0.0.1'])).toBeUndefined();
    expect(strict.check('shop.example', ['::1', '8.8.8.8'])).toBeUndefined();
  });

  test('none, or what is no address, is refused', () => {
    expect(strict.check('shop.example', [])).toBeUndefined();
    expect(strict.check('shop.example', ['8.8.8.8', '0177.0.0.1'])).toBeUndefined();
    expect(strict.check('shop.example', ['2606:4700::1111%eth0'])).toBeUndefined();
  });

  test('are this machine only if all of them are', () => {
    expect(lenient.check('localhost', ['127.0.0.1', '::1'])?.isLoopback).toBe(true);
    expect(lenient.check('localhost', ['127.0.0.1', '8.8.8.8'])?.isLoopback).toBe(false);
  });
});
