/*
 * Loaded with `--import` before a service: blocks its event loop for as long as it is told to, as code that computes
 * too long would, and ends the service when whoever started it is gone.
 */

/** What a service is told, and what it says when it did it. */
export type Block = { blockMs: number };

process.on('message', ({ blockMs }: Block) => {
  // Nobody wakes it up: it ends with its time.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, blockMs);
  process.send?.({ blockMs });
});

process.on('disconnect', () => process.exit());

// The service ends when it has nothing to do any more, and this is nothing.
process.channel?.unref();
