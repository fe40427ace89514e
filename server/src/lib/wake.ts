/** What a loop waits for between two steps. Rings while nobody waits are one ring, for the next who does. */
export type Wake = {
  ring(): void;
  /** Resolves at the next ring, after the time, or when the signal aborts; never rejects. */
  next(timeoutMs: number, signal?: AbortSignal): Promise<void>;
};

export const createWake = (): Wake => {
  let isRung = false;
  let wakeUp: (() => void) | undefined;
  return {
    ring: () => {
      isRung = true;
      wakeUp?.();
    },
    next: async (timeoutMs, signal) => {
      if (!isRung && !signal?.aborted && timeoutMs > 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wakeUp = () => resolve();
        const timer = setTimeout(resolve, timeoutMs);
        signal?.addEventListener('abort', wakeUp, { once: true });
        await promise;
        clearTimeout(timer);
        signal?.removeEventListener('abort', wakeUp);
        wakeUp = undefined;
      }
      isRung = false;
    },
  };
};
