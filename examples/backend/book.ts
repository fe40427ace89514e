import { randomUUID } from 'node:crypto';

/** A request of Florin, as docs/api/backend.yml has it. */
export type Request = {
  kind: 'authorise' | 'capture' | 'cancel' | 'refund' | 'status';
  operation_id: string;
  payment_id: string;
  amount_minor: string;
  currency: string;
  payment_method: string | null;
  capture?: boolean;
  of?: string;
};

/** What is answered, told by a callback, and said again whenever the operation is asked about. */
export type Answer =
  | { operation_id: string; outcome: 'approved'; amount_minor: string; currency: string; reference: string }
  | { operation_id: string; outcome: 'declined'; failure_code: string }
  | { operation_id: string; outcome: 'pending' | 'absent' };

/** One movement of money, or of an authorisation, as a statement of this backend would list it. */
export type Movement = {
  reference: string;
  operation_id: string;
  payment_id: string;
  kind: Request['kind'];
  amount_minor: string;
  currency: string;
};

type Payment = {
  currency: string;
  authorised: bigint;
  captured: bigint;
  refunded: bigint;
  canceled: boolean;
};

/**
 * The books of this backend, in memory: what it did for whom, and what it answered. The heart of the contract is here:
 * one operation is done once, and asked about again it says the same.
 */
export const openBook = () => {
  const payments = new Map<string, Payment>();
  const answers = new Map<string, Answer>();
  const movements: Movement[] = [];

  const move = (request: Request, amount = request.amount_minor): string => {
    const reference = `be_${randomUUID().replaceAll('-', '')}`;
    const { operation_id, payment_id, kind, currency } = request;
    movements.push({ reference, operation_id, payment_id, kind, amount_minor: amount, currency });
    return reference;
  };

  const approve = (request: Request, amount = request.amount_minor): Answer => ({
    operation_id: request.operation_id,
    outcome: 'approved',
    amount_minor: amount,
    currency: request.currency,
    reference: move(request, amount),
  });

  const decline = ({ operation_id }: Request, failure_code: string): Answer => ({
    operation_id,
    outcome: 'declined',
    failure_code,
  });

  const decide = (request: Request): Answer => {
    const amount = BigInt(request.amount_minor);
    const payment = payments.get(request.payment_id);
    if (request.kind === 'authorise') {
      const reason = /^decline_(\w+)$/.exec(request.payment_method ?? '')?.[1];
      if (reason !== undefined) return decline(request, reason);
      const captured = request.capture === false ? 0n : amount;
      const made = {
        currency: request.currency,
        authorised: amount,
        captured,
        refunded: 0n,
        canceled: false,
      };
      payments.set(request.payment_id, made);
      return approve(request);
    }
    if (!payment || payment.canceled || payment.currency !== request.currency)
      return decline(request, 'backend_error');
    if (request.kind === 'refund') {
      if (payment.refunded + amount > payment.captured) return decline(request, 'backend_error');
      payment.refunded += amount;
      return approve(request);
    }
    // What is authorised can be captured or canceled once.
    if (payment.captured > 0n || amount > payment.authorised) return decline(request, 'backend_error');
    if (request.kind === 'capture') payment.captured = amount;
    else payment.canceled = true;
    return approve(request);
  };

  return {
    movements: (): readonly Movement[] => movements,
    find: (operationId: string): Answer =>
      answers.get(operationId) ?? { operation_id: operationId, outcome: 'absent' },
    /** Does what is asked, unless it did so before: the answer is the same then. */
    perform: (request: Request): Answer => {
      const known = answers.get(request.operation_id);
      if (known) return known;
      const answer = decide(request);
      answers.set(request.operation_id, answer);
      return answer;
    },
    /** A fault: takes the money of an operation a second time. */
    moveAgain: (request: Request): Answer => approve(request),
    /** A fault: another answer than what was done. */
    rewrite: (answer: Answer): void => void answers.set(answer.operation_id, answer),
  };
};

export type Book = ReturnType<typeof openBook>;
