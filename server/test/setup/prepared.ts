import { testDatabase, type TestDatabase } from './database.ts';
import { forAllTests } from './for-all-tests.ts';
import { prepareServices, type Preparation } from './service.ts';

/** A database with services prepared on it, for all tests of a file. */
export const preparedForTests = (): Preparation & { database: TestDatabase } =>
  forAllTests(async (stack) => {
    const database = stack.use(await testDatabase());
    return { database, ...stack.use(await prepareServices(database)) };
  });
