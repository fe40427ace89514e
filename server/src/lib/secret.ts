import { inspect } from 'node:util';

const redacted = '[REDACTED]';

/** A value that must not be printed. Logs, JSON, template strings and `inspect` show `[REDACTED]`. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself: call it where the secret is used, keep the `Secret` everywhere else. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return redacted;
  }

  toJSON(): string {
    return redacted;
  }

  [inspect.custom](): string {
    return redacted;
  }
}
