import { isIP } from 'node:net';
import { Secret } from '../secret.ts';

/** A kind of value: how it is read from text (variables), YAML or a caller's override. */
export type Kind<T> = {
  /** Completes `<setting> must be …`. */
  expects: string;
  /** The value, or `undefined` when `raw` is none of this kind. */
  parse(raw: unknown): T | undefined;
};

export const text: Kind<string> = { expects: 'text', parse: (raw) => textOf(raw) };

/** The path of a file; relative ones start at the working directory. */
export const file: Kind<string> = { expects: 'the path of a file', parse: (raw) => textOf(raw) };

export const integer = ({ min, max }: { min: number; max: number }): Kind<number> => ({
  expects: `an integer from ${min} to ${max}`,
  parse: (raw) => {
    const digits = textOf(raw);
    if (digits === undefined || !/^\d{1,15}$/.test(digits)) return undefined;
    const value = Number(digits);
    return value >= min && value <= max ? value : undefined;
  },
});

/** A share of a whole, such as 0.25. */
export const ratio: Kind<number> = {
  expects: 'a number from 0 to 1',
  parse: (raw) => {
    const digits = textOf(raw);
    if (digits === undefined || !/^\d(\.\d{1,12})?$/.test(digits)) return undefined;
    return Number(digits) <= 1 ? Number(digits) : undefined;
  },
};

/** A TCP port; 0 lets the system choose one. */
export const port: Kind<number> = { ...integer({ min: 0, max: 65_535 }), expects: 'a port from 0 to 65535' };

export const flag: Kind<boolean> = {
  expects: 'true or false',
  parse: (raw) => (typeof raw === 'boolean' ? raw : flagWords[textOf(raw)?.toLowerCase() ?? '']),
};

const flagWords: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false,
};

export const choice = <const T extends string>(values: readonly T[]): Kind<T> => ({
  expects: `one of ${values.join(', ')}`,
  parse: (raw) => {
    const word = textOf(raw)?.toLowerCase();
    return values.find((value) => value === word);
  },
});

/** An absolute `http` or `https` address, without the slash at its end. */
export const url: Kind<string> = {
  expects: 'an http or https URL without user and password',
  parse: (raw) => {
    const address = webAddress(textOf(raw));
    return address?.href.replace(/\/+$/, '');
  },
};

/** Origins as browsers send them (RFC 6454), or `*`, separated by commas. */
export const origins: Kind<string[]> = {
  expects: 'origins such as https://app.example.com, separated by commas',
  parse: (raw) =>
    listOf(raw, (item) => {
      if (item === '*') return item;
      const address = webAddress(item.replace('*', 'wildcard'));
      if (address === undefined || address.pathname !== '/' || address.search !== '' || address.hash !== '')
        return undefined;
      return item.includes('*') ? item : address.origin;
    }),
};

/** Which proxies may name a client's address: all, none, or these addresses and networks. */
export const proxies: Kind<boolean | string[]> = {
  expects: 'true, false, or addresses and networks such as 10.0.0.0/8, separated by commas',
  parse: (raw) => flag.parse(raw) ?? listOf(raw, (item) => (isNetwork(item) ? item : undefined)),
};

/** Addresses, networks and host names. */
export const targets: Kind<string[]> = {
  expects: 'addresses, networks such as 10.0.0.0/8, and host names, separated by commas',
  parse: (raw) =>
    listOf(raw, (item) => (isNetwork(item) || hostPattern.test(item) ? item.toLowerCase() : undefined)),
};

const hostPattern = /^(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/i;

export const secret: Kind<Secret> = {
  expects: 'text',
  parse: (raw) => {
    if (raw instanceof Secret) return raw;
    return typeof raw === 'string' && raw.trim() !== '' ? new Secret(raw) : undefined;
  },
};

/**
 * A key of 256 bits. Its canonical form is base64; 64 hexadecimal digits are accepted too, and so are 32 plain
 * characters, as other programs' `ENCRYPTION_KEY` has them.
 */
export const key: Kind<Secret> = {
  expects: 'base64 of 32 bytes (openssl rand -base64 32)',
  parse: (raw) => {
    const value = secret.parse(raw)?.reveal().trim();
    const bytes = value === undefined ? undefined : keyBytes(value);
    return bytes?.length === 32 ? new Secret(bytes.toString('base64')) : undefined;
  },
};

export const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type Level = (typeof levels)[number];

export const level: Kind<Level> = {
  expects: `one of ${levels.join(', ')}`,
  parse: (raw) => {
    const word = textOf(raw)?.toLowerCase() ?? '';
    return levels.find((one) => one === (levelSynonyms[word] ?? word));
  },
};

const levelSynonyms: Readonly<Record<string, Level>> = { warning: 'warn', off: 'silent' };

/**
 * Levels per module: `payments=debug,ledger=warn`, or a YAML map. `*` stands for every module. The logger names of
 * a Spring configuration are understood: `com.payment` is `*`, `com.payment.ledger` is `ledger`,
 * `org.springframework` is `http`.
 */
export const moduleLevels: Kind<Record<string, Level>> = {
  expects: `module=level pairs such as payments=debug,ledger=warn, each level ${level.expects}`,
  parse: (raw) => {
    const pairs = pairsOf(raw)?.map(([name, word]) => [moduleOf(name), level.parse(word)] as const);
    if (
      pairs?.every((pair): pair is readonly [string, Level] => pair[0] !== '' && pair[1] !== undefined) !==
      true
    ) {
      return undefined;
    }
    return Object.fromEntries(pairs);
  },
};

const moduleOf = (name: string): string => {
  if (name === 'com.payment') return '*';
  if (name.startsWith('org.springframework')) return 'http';
  return name.replace(/^com\.payment\./, '');
};

const pairsOf = (raw: unknown): [string, unknown][] | undefined => {
  if (raw !== null && typeof raw === 'object' && !Array.isArray(raw)) return Object.entries(raw);
  return listOf(raw, (item) => {
    const [name, word, rest] = item.split('=');
    return word === undefined || rest !== undefined ? undefined : [(name ?? '').trim(), word];
  });
};

const textOf = (raw: unknown): string | undefined => {
  if (typeof raw === 'number' && Number.isFinite(raw)) return String(raw);
  const trimmed = typeof raw === 'string' ? raw.trim() : '';
  return trimmed === '' ? undefined : trimmed;
};

/** The items of a YAML list or of a comma-separated text; `undefined` when one of them is refused. */
const listOf = <T>(raw: unknown, parse: (item: string) => T | undefined): T[] | undefined => {
  const items = Array.isArray(raw)
    ? raw
    : typeof raw === 'string'
      ? raw.split(',').filter((item) => item.trim() !== '')
      : undefined;
  const parsed = items?.map((item) => parse(textOf(item) ?? ''));
  return parsed?.every((item) => item !== undefined) === true ? parsed : undefined;
};

const webAddress = (address: string | undefined): URL | undefined => {
  const parsed = address === undefined ? null : URL.parse(address);
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) return undefined;
  return parsed.username === '' && parsed.password === '' ? parsed : undefined;
};

const isNetwork = (item: string): boolean => {
  const [address = '', bits, rest] = item.split('/');
  const version = isIP(address);
  if (version === 0 || rest !== undefined) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
};

const keyBytes = (value: string): Buffer => {
  if (/^[0-9a-f]{64}$/i.test(value)) return Buffer.from(value, 'hex');
  const plain = Buffer.from(value, 'utf8');
  if (plain.length === 32) return plain;
  const decoded = Buffer.from(value, 'base64');
  return decoded.toString('base64').replace(/=+$/, '') === value.replace(/=+$/, '')
    ? decoded
    : Buffer.alloc(0);
};
