import { describe, expect, test } from 'vitest';
import { isPublic, parseAddress } from './addresses.ts';

const isPublicText = (text: string): boolean => {
  const address = parseAddress(text);
  return address !== undefined && isPublic(address);
};

/** First and last address of every network that IANA's registries, and clouds, keep from the public. */
const refused: Readonly<Record<string, readonly string[]>> = {
  'this network (RFC 791)': ['0.0.0.0', '0.255.255.255'],
  'private (RFC 1918)': [
    '10.0.0.0',
    '10.255.255.255',
    '172.16.0.0',
    '172.31.255.255',
    '192.168.0.0',
    '192.168.255.255',
  ],
  'behind a carrier (RFC 6598)': ['100.64.0.0', '100.127.255.255', '100.100.100.200'],
  'loopback (RFC 1122)': ['127.0.0.0', '127.0.0.1', '127.255.255.255'],
  'link-local, metadata of clouds (RFC 3927)': ['169.254.0.0', '169.254.169.254', '169.254.255.255'],
  'of protocols (RFC 6890)': ['192.0.0.0', '192.0.0.192', '192.0.0.255'],
  'for documentation (RFC 5737)': [
    '192.0.2.0',
    '192.0.2.255',
    '198.51.100.0',
    '198.51.100.255',
    '203.0.113.0',
    '203.0.113.255',
  ],
  'AS112 (RFC 7534, 7535)': ['192.31.196.0', '192.31.196.255', '192.175.48.0', '192.175.48.255'],
  'AMT (RFC 7450)': ['192.52.193.0', '192.52.193.255'],
  'relays of 6to4 (RFC 7526)': ['192.88.99.0', '192.88.99.255'],
  'benchmarks (RFC 2544)': ['198.18.0.0', '198.19.255.255'],
  'multicast (RFC 5771)': ['224.0.0.0', '239.255.255.255'],
  'reserved, broadcast (RFC 1112, 919)': ['240.0.0.0', '255.255.255.254', '255.255.255.255'],
  'the machine below an Azure machine': ['168.63.129.16'],
  'unspecified and loopback (RFC 4291)': ['::', '::1'],
  'IPv4-compatible (RFC 4291)': ['::127.0.0.1', '::8.8.8.8', '::a00:1'],
  'IPv4-mapped (RFC 4291)': [
    '::ffff:0.0.0.0',
    '::ffff:10.0.0.1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:169.254.169.254',
    '0:0:0:0:0:ffff:a9fe:a9fe',
  ],
  'IPv4-translated (RFC 2765)': ['::ffff:0:127.0.0.1', '::ffff:0:8.8.8.8'],
  'NAT64 of what is not public (RFC 6052)': [
    '64:ff9b::10.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::169.254.169.254',
    '64:ff9b::',
  ],
  'NAT64 of a network of its own (RFC 8215)': ['64:ff9b:1::', '64:ff9b:1::8.8.8.8', '64:ff9b:1:ffff::'],
  'discard (RFC 6666)': ['100::', '100::ffff:ffff:ffff:ffff', '100:0:0:1::'],
  'of protocols (RFC 2928)': ['2001::', '2001:1::1', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff'],
  'Teredo (RFC 4380)': ['2001:0:ffff:ffff::', '2001:0:4136:e378:8000:63bf:3fff:fdd2'],
  'benchmarks (RFC 5180)': ['2001:2::1'],
  'ORCHID (RFC 4843, 7343)': ['2001:10::1', '2001:20::1', '2001:30::1'],
  'for documentation (RFC 3849, 9637)': ['2001:db8::', '2001:db8:ffff::1', '3fff::', '3fff:fff::1'],
  '6to4 (RFC 3056)': ['2002::', '2002:7f00:1::', '2002:a00:1::1', '2002:808:808::1'],
  'AS112 (RFC 7534, 7535)  ': ['2001:4:112::1', '2620:4f:8000::1'],
  'segment routing (RFC 9602)': ['5f00::', '5f00:ffff::1'],
  'never given to anybody': ['1::1', '200::1', '400::1', '4000::1', '8000::1', 'c000::1', 'f000::1'],
  'unique local, metadata of clouds (RFC 4193)': ['fc00::', 'fd00:ec2::254', 'fd20:ce::254', 'fdff:ffff::1'],
  'link-local (RFC 4291)': ['fe80::', 'fe80::1', 'febf:ffff::1'],
  'site-local (RFC 3879)': ['fec0::', 'feff:ffff::1'],
  'multicast (RFC 4291)': ['ff00::', 'ff02::1', 'ffff:ffff::1'],
};

describe('is not public:', () => {
  test.each(Object.entries(refused))('%s', (_name, addresses) => {
    expect(addresses.filter(isPublicText)).toEqual([]);
    expect(addresses.filter((address) => parseAddress(address) === undefined)).toEqual([]);
  });
});

test('their neighbours are public, and so is everybody else', () => {
  const addresses = [
    '1.0.0.0',
    '8.8.8.8',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '168.63.129.15',
    '169.253.255.255',
    '169.255.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.0.1.0',
    '192.167.255.255',
    '192.169.0.0',
    '198.17.255.255',
    '198.20.0.0',
    '223.255.255.255',
    '::ffff:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '2001:200::1',
    '2001:4860:4860::8888',
    '2003::1',
    '2606:4700::1111',
    '2a00:1450:4001::200e',
  ];
  expect(addresses.filter((address) => !isPublicText(address))).toEqual([]);
});

test('what is no address in one known notation is none', () => {
  const texts = [
    '',
    'x',
    '127.1',
    '0177.0.0.1',
    '0x7f.0.0.1',
    '2130706433',
    '010.0.0.1',
    '1.2.3.4/8',
    '1.2.3',
  ];
  const zoned = ['fe80::1%eth0', '::1%lo', '2606:4700::1111%1', '[::1]', '::1::'];
  expect([...texts, ...zoned].filter((text) => parseAddress(text) !== undefined)).toEqual([]);
});

test('a mapped address is the IPv4 address that it stands for', () => {
  expect(String(parseAddress('::ffff:8.8.4.4'))).toBe('8.8.4.4');
  expect(String(parseAddress('::ffff:808:404'))).toBe('8.8.4.4');
  expect(String(parseAddress('::8.8.4.4'))).toBe('::808:404');
});
