import type { IncomingHttpHeaders } from 'node:http';
import { AppError } from '../lib/errors.ts';
import { Secret } from '../lib/secret.ts';

/** What a request brought to prove who sent it. */
export type Credential =
  | { kind: 'client'; clientId: string; secret: Secret }
  | { kind: 'api_key'; key: Secret }
  | { kind: 'token'; token: string };

/**
 * The one credential in the header fields of a request: `X-Client-ID` with `X-Client-Secret`, or `X-API-Key`, or
 * `Authorization: Bearer`. Undefined when there is none.
 * @throws AppError 400 when there are several kinds, so that nobody wonders which of them counted
 */
export const credentialOf = (headers: IncomingHttpHeaders): Credential | undefined => {
  const found = [clientOf(headers), apiKeyOf(headers), tokenOf(headers)].filter(
    (credential) => credential !== undefined,
  );
  if (found.length > 1) {
    throw new AppError(
      'invalid_request',
      'Send one kind of credential: client id and secret, an API key, or a token.',
    );
  }
  return found[0];
};

/**
 * What tells the senders of requests apart before anything is proven: the credential as it was sent. It says nothing
 * about who they are. `Authorization` comes last, since it may stand beside another credential without being one.
 */
export const senderOf = (headers: IncomingHttpHeaders): string =>
  String(headers['x-client-secret'] || headers['x-api-key'] || headers.authorization || '');

const clientOf = (headers: IncomingHttpHeaders): Credential | undefined => {
  const { 'x-client-id': clientId, 'x-client-secret': secret } = headers;
  if (clientId === undefined && secret === undefined) return undefined;
  // Half a credential is a wrong one.
  return { kind: 'client', clientId: String(clientId ?? ''), secret: new Secret(String(secret ?? '')) };
};

const apiKeyOf = ({ 'x-api-key': key }: IncomingHttpHeaders): Credential | undefined =>
  key === undefined || key === '' ? undefined : { kind: 'api_key', key: new Secret(String(key)) };

const tokenOf = ({ authorization }: IncomingHttpHeaders): Credential | undefined => {
  const [, token] = /^bearer +(\S+) *$/i.exec(authorization ?? '') ?? [];
  return token === undefined ? undefined : { kind: 'token', token };
};
