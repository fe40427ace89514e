import type { FastifyInstance } from 'fastify';

/**
 * Whether a process was told to stop. It goes on answering for a while, since those who send it requests have to notice;
 * readiness says no, and every answer asks for a new connection, which then leads to another process.
 */
export type Drain = { isDraining: boolean };

/**
 * Makes `app.close()` graceful: it stops listening, tells the clients of open connections to close them, waits until
 * every accepted request is answered, and cuts off what is left after the grace period. Hooks that close databases run
 * afterwards, because they were registered before the server was ready.
 * @param drain tells the clients before the close begins
 */
export const closeGracefully = (
  app: FastifyInstance,
  shutdownGraceMs: number,
  drain: Drain = { isDraining: false },
): void => {
  let closing = false;

  app.addHook('onSend', (_request, reply, payload, done) => {
    if (closing || drain.isDraining) reply.header('connection', 'close');
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
