import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { isLoopback, isPublic, isWithin, parseAddress, type Address } from './addresses.ts';
import { notPublic } from './error.ts';
import { badPorts } from './ports.ts';

/** What may be called besides public addresses; `Config['outbound']` fits it. */
export type Exceptions = {
  /** Addresses, networks (`10.0.0.0/8`) and names of hosts, in small letters. */
  allow: readonly string[];
  /** This machine, over plain HTTP too. */
  allowLoopback: boolean;
};

/** The addresses of a host, all of which may be called. */
export type Checked = {
  addresses: readonly string[];
  /** All of them are this machine. */
  isLoopback: boolean;
};

export type Rules = {
  /** Why a URL can never be called, as the end of a sentence about it; `undefined` when it may be. */
  faultOf(url: URL): string | undefined;
  /** The addresses that a host was found to have; `undefined` when one of them must not be called, or there is none. */
  check(host: string, addresses: readonly string[]): Checked | undefined;
  /** Whether the operator allowed this host by its name. */
  isNamed(host: string): boolean;
};

const urlMax = 2048;

/** What may be called, from the settings. */
export const rulesOf = ({ allow, allowLoopback }: Exceptions): Rules => {
  const names = new Set(allow.filter((item) => networkOf(item) === undefined));
  const networks = allow.map((item) => networkOf(item)).filter((network) => network !== undefined);

  const permits = (host: string, address: Address): boolean =>
    isPublic(address) ||
    (allowLoopback && isLoopback(address)) ||
    names.has(host) ||
    networks.some((network) => isWithin(address, network));

  const check = (host: string, addresses: readonly string[]): Checked | undefined => {
    const parsed = addresses.map((address) => parseAddress(address));
    const permitted = parsed.filter((address) => address !== undefined && permits(host, address));
    if (permitted.length === 0 || permitted.length < addresses.length) return undefined;
    return { addresses: permitted.map(String), isLoopback: permitted.every(isLocal) };
  };

  /** Whether plain HTTP may go there, as far as the name tells. */
  const isHere = (host: string): boolean => {
    const literal = parseAddress(host);
    return allowLoopback && (isLocalhost(host) || (literal !== undefined && isLoopback(literal)));
  };

  const faultOf = (url: URL): string | undefined => {
    const host = hostOf(url);
    if (url.href.length > urlMax) return `must have ${urlMax} characters at most`;
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isHere(host)))
      return allowLoopback
        ? 'must begin with https://; plain http is for receivers on this machine, such as http://localhost:4000'
        : 'must begin with https://';
    if (url.username !== '' || url.password !== '')
      return 'must not have a user name or password in it: check the signature of what you receive instead';
    if (badPorts.has(portOf(url)))
      return `port ${url.port} belongs to another protocol than HTTP: use 443, or another port of a web server`;
    if (isLocalhost(host) && !allowLoopback && !names.has(host)) return notPublic;
    if (isIP(host) !== 0 && check(host, [host]) === undefined) return notPublic;
    return undefined;
  };

  return { faultOf, check, isNamed: (host) => names.has(host) };
};

const isLocal = (address: Address | undefined): boolean => address !== undefined && isLoopback(address);

const networkOf = (item: string): readonly [Address, number] | undefined => {
  if (item.includes('/')) return ipaddr.parseCIDR(item);
  const address = parseAddress(item);
  return address && [address, address.kind() === 'ipv4' ? 32 : 128];
};

/** The name or address in a URL, without the brackets of IPv6 and the dot that ends an absolute name. */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');

export const portOf = (url: URL): number =>
  url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);

/** Names that are this machine whatever a name server says (RFC 6761, section 6.3). */
export const isLocalhost = (host: string): boolean => host === 'localhost' || host.endsWith('.localhost');
