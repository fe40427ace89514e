import { systemClock } from '../../src/lib/clock.ts';
import { testServer } from '../../src/lib/http/testing.ts';
import { apiHealthRoutes, healthRoutes, type Probes } from '../../src/services/health.ts';
import { forAllTests } from './for-all-tests.ts';

/** A server with the probes of a service, which ask these, for all tests of a file or a `describe`. */
export const probesForTests = (probes: Probes) =>
  forAllTests(async (stack) =>
    stack.use(
      await testServer(async (app) => {
        await app.register(healthRoutes({ probes, clock: systemClock }));
        await app.register(apiHealthRoutes({ probes, clock: systemClock }));
      }),
    ),
  );
