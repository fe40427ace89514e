import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { AppError, invalidField } from '../lib/errors.ts';
import { Secret } from '../lib/secret.ts';
import { credentialOf, type Credential } from './credential.ts';
import type { Gate } from './gate.ts';
import { AuthenticateBody, CheckedToken, ClientHeaders, IssuedToken, ValidateTokenBody } from './schema.ts';

const tags = ['Access'];

/** `/authenticate` and `/validate-token`: answered by the edge itself, for anybody who knows a secret or a token. */
export const accessRoutes =
  (gate: Gate): FastifyPluginAsyncTypebox =>
  async (app) => {
    // Load generators and HTML forms send a type with no body; what is empty has none.
    app.addHook('onRequest', async ({ raw: { headers } }) => {
      const hasBody =
        headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
      if (!hasBody) delete headers['content-type'];
    });

    app.post(
      '/authenticate',
      {
        config: {
          requires: 'public',
          dryRun: 'ignored',
          errors: ['authentication_required', 'invalid_credentials'],
        },
        schema: {
          operationId: 'authenticate',
          tags,
          summary: 'Get an access token',
          description:
            'Takes the client id and secret in the header fields `X-Client-ID` and `X-Client-Secret`, or as JSON. Use ' +
            'the token as `Authorization: Bearer`, and ask for a new one when it has expired.',
          headers: ClientHeaders,
          body: AuthenticateBody,
          response: { 200: IssuedToken },
        },
      },
      async (request, reply) => {
        const { token, expiresAt } = await gate.issueToken(request, clientOf(request, request.body));
        reply.header('cache-control', 'no-store');
        return {
          token,
          token_type: 'Bearer' as const,
          expires_in: gate.tokenTtlS,
          expires_at: expiresAt.toISOString(),
        };
      },
    );

    app.post(
      '/validate-token',
      {
        config: {
          requires: 'public',
          dryRun: 'ignored',
          errors: ['authentication_required'],
        },
        schema: {
          operationId: 'validateToken',
          tags,
          summary: 'Check an access token',
          description:
            'Takes the token as `Authorization: Bearer`, or as JSON. Look at `active`, not at the status: a token that is ' +
            'unknown, expired, revoked or of a disabled vendor answers `{"active":false}` and nothing about why (RFC 7662).',
          body: ValidateTokenBody,
          response: { 200: CheckedToken },
        },
      },
      async (request, reply) => {
        const proven = await gate.checkToken(request, tokenOf(request, request.body));
        reply.header('cache-control', 'no-store');
        if (!proven) return { active: false as const };
        const { claims, client } = proven;
        return {
          valid: true as const,
          active: true as const,
          client_id: client.clientId,
          vendor: client.vendorId,
          mode: client.mode,
          role: client.role,
          issued_at: new Date(claims.iat * 1000).toISOString(),
          expires_at: new Date(claims.exp * 1000).toISOString(),
        };
      },
    );
  };

type ClientCredential = Extract<Credential, { kind: 'client' }>;

const clientOf = (request: FastifyRequest, body: Static<typeof AuthenticateBody>): ClientCredential => {
  const credential = credentialOf(request.headers);
  if (credential && body)
    throw invalidField('client_id', 'send client id and secret once: as header fields or as JSON');
  if (body) return { kind: 'client', clientId: body.client_id, secret: new Secret(body.client_secret) };
  if (credential?.kind === 'client') return credential;
  throw new AppError(
    'authentication_required',
    'Client credentials required: send X-Client-ID and X-Client-Secret.',
  );
};

const tokenOf = (request: FastifyRequest, body: Static<typeof ValidateTokenBody>): string => {
  const credential = credentialOf(request.headers);
  if (credential && body)
    throw invalidField('token', 'send the token once: as Authorization: Bearer or as JSON');
  if (body) return body.token;
  if (credential?.kind === 'token') return credential.token;
  throw new AppError('authentication_required', 'Access token required: send it as Authorization: Bearer.');
};
