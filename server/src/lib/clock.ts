/** Time is an argument: whoever needs the present asks the clock it was given. */
export type Clock = {
  now(): Date;
  /** What measures durations: it goes on evenly when the time is set. A clock without it is one that nobody sets. */
  elapsedMs?(): number;
};

export const systemClock: Clock = { now: () => new Date(), elapsedMs: () => performance.now() };

/** For how old something is. When it is due, or what a caller is told, is a matter of `now`. */
export const elapsedMs = (clock: Clock): number => clock.elapsedMs?.() ?? clock.now().getTime();

/** A clock that stands still until it is moved: for tests and for the test mode. */
export const manualClock = (start: Date | string) => {
  let current = new Date(start).getTime();
  let elapsed = 0;
  return {
    now: () => new Date(current),
    elapsedMs: () => elapsed,
    advance: (durationMs: number): void => {
      current += durationMs;
      elapsed += durationMs;
    },
    /** Changes the time, as an operator does; nothing is older by it. */
    set: (to: Date | string): void => {
      current = new Date(to).getTime();
    },
  };
};
