import { isIP } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** No address is longer, with the longest zone that a system makes. */
const addressLengthMax = 64;

/**
 * What may count of an `X-Forwarded-For`: its addresses from the right, where the nearest proxy wrote, up to the first
 * that is none. Whoever stands left of it could have written anything there, and it would be logged, counted and kept.
 * A port behind an address, which some proxies add, is left out.
 */
export const forwardedAddresses = (header: string): string[] => {
  const entries = header.split(',').map((entry) => withoutPort(entry.trim()));
  const stranger = entries.findLastIndex((entry) => entry.length > addressLengthMax || isIP(entry) === 0);
  return entries.slice(stranger + 1);
};

const withoutPort = (entry: string): string =>
  entry.replace(/^(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::[0-9]+)?$/i, '$1$2');

/** Lets only addresses reach `request.ip`, on a server that believes its proxies. Mount it before anything that reads it. */
export const boundForwarded = (app: FastifyInstance): void => {
  app.addHook('onRequest', (request, _reply, done) => {
    const { headers } = request.raw;
    const given = headers['x-forwarded-for'];
    if (given !== undefined) {
      const addresses = forwardedAddresses(String(given));
      if (addresses.length > 0) headers['x-forwarded-for'] = addresses.join(', ');
      else delete headers['x-forwarded-for'];
    }
    done();
  });
};
