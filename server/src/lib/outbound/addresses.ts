import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

export type Address = ipaddr.IPv4 | ipaddr.IPv6;

/**
 * An address as a resolver or a URL writes it; an IPv4-mapped one (`::ffff:10.0.0.1`) is the IPv4 address that it stands
 * for. What is none, and what names an interface (`fe80::1%eth0`), is `undefined`.
 */
export const parseAddress = (text: string): Address | undefined => {
  const version = isIP(text);
  if (version === 4) return ipaddr.IPv4.parse(text);
  if (version !== 6 || text.includes('%')) return undefined;
  // ipaddr takes `::1.2.3.4` for mapped. In the notation of URLs every address is written in one way only.
  const parsed = ipaddr.IPv6.parse(new URL(`http://[${text}]`).hostname.slice(1, -1));
  return parsed.isIPv4MappedAddress() ? parsed.toIPv4Address() : parsed;
};

export const isLoopback = (address: Address): boolean => address.range() === 'loopback';

/** Whether an address is in a network. */
export const isWithin = (address: Address, [network, bits]: readonly [Address, number]): boolean =>
  address.kind() === network.kind() && address.match(network, bits);

/** Public by its range, but answered by the machine below ours: the metadata and agents of Azure. */
const azureWireServer = ipaddr.IPv4.parse('168.63.129.16');

/** NAT64 (RFC 6052), by which hosts without IPv4 reach IPv4: the last 32 bits are the address that is meant. */
const nat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');

/** What IPv6 gives to the public at all (RFC 4291, IANA's registry of global unicast). */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

/**
 * Whether everybody on the internet can reach this address: neither private, local or reserved, nor for documentation,
 * multicast, or one of the tunnels that end elsewhere (6to4, Teredo). IANA's registries of special-purpose addresses (RFC
 * 6890), and for IPv6 only what was given to the public.
 */
export const isPublic = (address: Address): boolean => {
  if (address instanceof ipaddr.IPv4)
    return address.range() === 'unicast' && !address.match(azureWireServer, 32);
  if (address.match(nat64)) return isPublic(new ipaddr.IPv4(address.toByteArray().slice(12)));
  return address.match(globalUnicast) && address.range() === 'unicast';
};
