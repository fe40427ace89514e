/**
 * Stops once on the first SIGINT, SIGTERM or other signal given, letting what was accepted finish; later signals change
 * nothing.
 */
export const stopOnSignal = (stop: () => Promise<void>, others: readonly NodeJS.Signals[] = []): void => {
  let isStopping = false;
  const stopOnce = (): void => {
    if (isStopping) return;
    isStopping = true;
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(
          `It did not stop cleanly: ${error instanceof Error ? error.message : String(error)}\n`,
        );
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', ...others] as const) process.on(signal, stopOnce);
};
