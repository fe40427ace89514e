import type { DatabaseConnection, Dialect, Driver } from 'kysely';

/** Told of one transaction when it ended, in the asynchronous context of whoever ran it. */
export type OnTransaction = (transaction: { committed: boolean; tookMs: number }) => void;

/** A dialect that tells how long each transaction took, from its begin to the end of its commit or rollback. */
export const timedTransactions = (dialect: Dialect, onTransaction: OnTransaction): Dialect => ({
  createAdapter: () => dialect.createAdapter(),
  createIntrospector: (db) => dialect.createIntrospector(db),
  createQueryCompiler: () => dialect.createQueryCompiler(),
  createDriver: () => {
    const driver = dialect.createDriver();
    const begun = new WeakMap<DatabaseConnection, number>();
    const ended = (connection: DatabaseConnection, committed: boolean): void =>
      onTransaction({ committed, tookMs: performance.now() - (begun.get(connection) ?? performance.now()) });
    const begin = driver.beginTransaction.bind(driver);
    const commit = driver.commitTransaction.bind(driver);
    const rollback = driver.rollbackTransaction.bind(driver);
    return Object.assign(driver, {
      beginTransaction: (connection, settings) => {
        begun.set(connection, performance.now());
        return begin(connection, settings);
      },
      commitTransaction: async (connection) => {
        await commit(connection);
        ended(connection, true);
      },
      rollbackTransaction: async (connection) => {
        await rollback(connection);
        ended(connection, false);
      },
    } satisfies Partial<Driver>);
  },
});
