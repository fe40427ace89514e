/** The payment that every generator sends: what a shop would, with a reference of its own. */
export const paymentBody = (reference: string): string =>
  JSON.stringify({ amount: '10.00', currency: 'USD', reference: `order ${reference}` });

/** The beginning of all keys of one run of a generator, 8 characters, so that no two runs share a key. */
export const newRun = (): string => crypto.randomUUID().slice(0, 8);
