import { lookup as systemLookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { elapsedMs, type Clock } from '../clock.ts';
import { notPublic, OutboundError } from './error.ts';
import { isLocalhost, type Checked, type Rules } from './rules.ts';

/** All addresses of a host, as text. Throws when there is no such host, or nobody says so. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** What hosts are called at, as it was a few seconds ago at most. */
export type Names = {
  /** @throws OutboundError `unresolvable`, or `address_refused` when one of the addresses must not be called */
  addressesOf(host: string): Promise<Checked>;
};

/**
 * Long enough that a flood of deliveries does not become one of questions; short enough that a receiver moves when its
 * DNS records say so.
 */
const ageMaxMs = 5_000;
const hostsMax = 4_096;

/** Finds and checks the addresses of hosts. Whoever asks gets only addresses that were checked. */
export const openNames = ({
  rules,
  clock,
  lookup,
}: {
  rules: Rules;
  clock: Clock;
  lookup: Lookup;
}): Names => {
  const known = new Map<string, { askedAtMs: number; checked: Promise<Checked> }>();

  const ask = async (host: string): Promise<Checked> => {
    const addresses = isIP(host) === 0 ? await found(lookup, host) : [host];
    const checked = rules.check(host, addresses);
    if (checked === undefined) throw new OutboundError('address_refused', notPublic);
    return checked;
  };

  const addressesOf = (host: string): Promise<Checked> => {
    const nowMs = elapsedMs(clock);
    const answer = known.get(host);
    if (answer !== undefined && nowMs - answer.askedAtMs < ageMaxMs) return answer.checked;
    const checked = ask(host);
    // Whoever asked is told; an answer that nobody waits for any more may fail.
    checked.catch(() => undefined);
    known.delete(host);
    // The oldest question comes first.
    const [oldest] = known.keys();
    if (known.size >= hostsMax && oldest !== undefined) known.delete(oldest);
    known.set(host, { askedAtMs: nowMs, checked });
    return checked;
  };

  return { addressesOf };
};

const found = async (lookup: Lookup, host: string): Promise<readonly string[]> => {
  try {
    return await lookup(host);
  } catch (cause) {
    throw new OutboundError('unresolvable', notPublic, { cause });
  }
};

/** Two tries of one and two seconds: a name server that is slow or swallows questions costs the call, not the worker. */
const resolving = { timeout: 1_000, tries: 2 };

/**
 * Asks the name servers of this machine directly. The system's own resolver (`getaddrinfo`) would hold one of a few threads
 * for as long as somebody's name server says nothing, and would read /etc/hosts and search domains, which name what is in
 * our network; so only hosts that the operator allowed by name are looked up by it.
 */
export const systemNames = (rules: Pick<Rules, 'isNamed'>): Lookup => {
  const resolver = new Resolver(resolving);
  return async (host) => {
    if (isLocalhost(host)) return ['127.0.0.1', '::1'];
    if (rules.isNamed(host)) {
      const entries = await systemLookup(host, { all: true, order: 'ipv4first' });
      return entries.map(({ address }) => address);
    }
    const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    const [refusal] = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
    if (addresses.length === 0) throw refusal;
    return addresses;
  };
};
