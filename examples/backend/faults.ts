/** What this backend can be made to do wrong. */
export const faults = {
  slow: 'Answers after two seconds.',
  error_500: 'Answers 500 and does nothing. Asked later, it never heard of it.',
  error_500_after_charging: 'Does it, then answers 500.',
  hang: 'Does it and never answers.',
  hang_before_charging: 'Never answers and does nothing. Asked later, it never heard of it.',
  hang_for_ever: 'Never answers, and asked later it says that it is still working on it.',
  reset: 'Does it, then breaks the connection.',
  reset_before_charging: 'Breaks the connection and does nothing.',
  duplicate_charge: 'Charges twice, answers with the first charge, and tells of both.',
  wrong_amount: 'Charges one cent more than it was asked for, and says so.',
  out_of_order: 'Tells that it is done before it answers, and that it works on it after that.',
  contradict: 'Approves, then tells that it declined.',
  rubbish: 'Does it, and answers with something that is not of the contract.',
  huge: 'Does it, and answers with ten megabytes.',
} as const satisfies Record<string, string>;

export type Fault = keyof typeof faults;

export const isFault = (name: string): name is Fault => Object.hasOwn(faults, name);

/** A fault that waits for the next requests of a kind. */
type Armed = { fault: Fault; kind: string; times: number };

/** Which fault a request meets: one that was armed for its kind, or the one that its payment method names. */
export const openFaults = () => {
  let armed: Armed[] = [];
  return {
    arm: (next: Armed): void => void armed.push(next),
    clear: (): void => {
      armed = [];
    },
    of: ({
      kind,
      payment_method: method,
    }: {
      kind: string;
      payment_method: string | null;
    }): Fault | undefined => {
      const waiting = armed.find((each) => each.kind === kind && each.times > 0);
      if (waiting) {
        waiting.times -= 1;
        return waiting.fault;
      }
      // A payment method is with every request of its payment; it is the charge that goes wrong.
      return kind === 'authorise' && method !== null && isFault(method) ? method : undefined;
    },
  };
};

export type Faults = ReturnType<typeof openFaults>;
