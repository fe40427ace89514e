type Options = {
  /** Signals that end the process like SIGINT and SIGTERM do. */
  others?: readonly NodeJS.Signals[];
  /** After this time the process ends, finished or not. */
  withinMs: number;
};

/** A Ctrl-C reaches a process several times: from the terminal, from npm, from the launcher. These are one. */
const sameSignalMs = 1_000;

/**
 * Stops on the first SIGINT or SIGTERM, letting what was accepted finish, and exits 0. Another signal a second later, or
 * a stop that takes too long, ends the process at once with 1: what was accepted and not answered is then unknown to
 * whoever asked, as after a crash.
 */
export const stopOnSignal = (stop: () => Promise<void>, { others = [], withinMs }: Options): void => {
  let firstAt: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (firstAt !== undefined && now - firstAt < sameSignalMs) return;
    if (firstAt !== undefined) end(1, `${signal} again: ended at once`);
    firstAt = now;
    setTimeout(() => end(1, `it did not stop within ${withinMs} ms: ended at once`), withinMs).unref();
    stop().then(
      () => end(0),
      (error: unknown) =>
        end(1, `It did not stop cleanly: ${error instanceof Error ? error.message : String(error)}`),
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', ...others] as const) process.on(signal, onSignal);
};

const end = (code: number, why?: string): never => {
  if (why !== undefined) process.stderr.write(`${why}\n`);
  process.exit(code);
};
