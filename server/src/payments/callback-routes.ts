import type { FastifyPluginAsync } from 'fastify';
import { AppError } from '../lib/errors.ts';
import { receive } from './callbacks.ts';
import type { PaymentsModule } from './module.ts';

/** The connectors whose backends may call us; which of them are configured an edge does not know. */
const calling = ['http', 'stripe'];

/** The largest message of a backend that is read. */
const bodyMaxBytes = 256 * 1024;

/**
 * Where payment backends tell by themselves how an operation ended: `/callbacks/<connector>`. Open to everybody: what
 * counts is the signature over the body as it arrived (docs/backends.md).
 */
export const callbackRoutes =
  (module: PaymentsModule): FastifyPluginAsync =>
  async (app) => {
    app.removeAllContentTypeParsers();
    // A signature covers bytes, not what they mean.
    app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: bodyMaxBytes }, (_request, body, done) =>
      done(null, body),
    );
    for (const name of calling) {
      app.post(
        `/${name}`,
        { config: { requires: 'public', signed: true }, schema: { hide: true }, bodyLimit: bodyMaxBytes },
        async ({ headers, body, ip, id }) => {
          const connector = module.connectors.get(name);
          if (!connector?.readCallback) throw new AppError('not_found', 'There is nothing at this path.');
          const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
          const arrived = { headers, body: bytes, origin: ip, requestId: id };
          return { result: await receive(module, connector, arrived) };
        },
      );
    }
  };
