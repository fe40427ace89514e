/** Time is an argument: whoever needs the present asks the clock it was given. */
export type Clock = { now(): Date };

export const systemClock: Clock = { now: () => new Date() };

/** A clock that stands still until it is moved: for tests and for the test mode. */
export const manualClock = (start: Date | string) => {
  let current = new Date(start).getTime();
  return {
    now: () => new Date(current),
    advance: (durationMs: number): void => {
      current += durationMs;
    },
    set: (to: Date | string): void => {
      current = new Date(to).getTime();
    },
  };
};
