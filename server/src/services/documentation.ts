import { createHash, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { errorsPage, errorsPolicy } from '../lib/openapi/errors-page.ts';
import { referencePage, referencePolicy, referenceScript, startScript } from '../lib/openapi/reference.ts';

const page = { config: { requires: 'public' }, schema: { hide: true } } as const;

/**
 * The documentation for people and programs: `/docs`, `/docs/errors` and `/openapi.json`. It is made once, works
 * without any other server, and needs no credentials.
 * @param options.document gives the OpenAPI document; asked once, when the server is ready
 */
export const documentationRoutes = (options: { document: () => object }): FastifyPluginAsync => {
  return async (app) => {
    app.get('/docs', page, async (_request, reply) => {
      const nonce = randomBytes(16).toString('base64');
      return html(reply, referencePolicy(nonce)).send(referencePage(nonce));
    });
    app.get('/docs/', page, async (_request, reply) => reply.redirect('/docs', 301));
    app.get('/docs/errors', page, async (_request, reply) => html(reply, errorsPolicy).send(errorsPage()));
    serveFixed(app, '/openapi.json', 'application/json; charset=utf-8', async () =>
      JSON.stringify(options.document()),
    );
    serveFixed(app, '/docs/reference.js', 'text/javascript; charset=utf-8', referenceScript);
    serveFixed(app, '/docs/start.js', 'text/javascript; charset=utf-8', async () => startScript);
  };
};

const html = (reply: FastifyReply, policy: string): FastifyReply =>
  reply
    .type('text/html; charset=utf-8')
    .header('content-security-policy', policy)
    .header('cache-control', 'no-cache');

type Fixed = { plain: Buffer; zipped: Buffer; etag: string };

const compress = promisify(gzip);

/** Serves a text that stays the same while the process runs: made and compressed once, asked for again by its ETag. */
const serveFixed = (
  app: FastifyInstance,
  path: string,
  mediaType: string,
  make: () => Promise<string>,
): void => {
  let made: Promise<Fixed> | undefined;
  app.get(path, page, async (request, reply) => {
    made ??= fixed(await make());
    const { plain, zipped, etag } = await made;
    reply.type(mediaType).headers({ etag, 'cache-control': 'no-cache', vary: 'Origin, Accept-Encoding' });
    if (request.headers['if-none-match'] === etag) return reply.code(304).send();
    return acceptsGzip(request) ? reply.header('content-encoding', 'gzip').send(zipped) : reply.send(plain);
  });
};

const fixed = async (text: string): Promise<Fixed> => {
  const plain = Buffer.from(text, 'utf8');
  const etag = `"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`;
  return { plain, zipped: await compress(plain, { level: constants.Z_DEFAULT_COMPRESSION }), etag };
};

const acceptsGzip = (request: FastifyRequest): boolean =>
  /(^|,)\s*(gzip|\*)\s*(;\s*q=(1|0\.\d*[1-9]))?\s*(,|$)/.test(request.headers['accept-encoding'] ?? '');
