import type { FastifyInstance } from 'fastify';

/**
 * Makes `app.close()` graceful: it stops listening, tells the clients of open connections to close them, waits until
 * every accepted request is answered, and cuts off what is left after the grace period. Hooks that close databases run
 * afterwards, because they were registered before the server was ready.
 */
export const closeGracefully = (app: FastifyInstance, shutdownGraceMs: number): void => {
  let closing = false;

  app.addHook('onSend', (_request, reply, payload, done) => {
    if (closing) reply.header('connection', 'close');
    done(null, payload);
  });

  // A connection whose last answer had left before the close began is idle only now.
  app.addHook('onResponse', (_request, _reply, done) => {
    if (closing) setImmediate(() => app.server.closeIdleConnections());
    done();
  });

  app.addHook('preClose', async () => {
    closing = true;
    const { server } = app;
    if (!server.listening) return;
    const force = setTimeout(() => {
      app.log.warn('requests were cut off: they were not answered within the grace period');
      server.closeAllConnections();
    }, shutdownGraceMs);
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeIdleConnections();
    });
    clearTimeout(force);
  });
};
