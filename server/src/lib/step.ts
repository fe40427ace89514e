import { channel } from 'node:diagnostics_channel';

/**
 * The moments of a write at which a process that dies would leave the most to be put right, in the order in which a
 * request passes them. The crash tests kill the process at each of them.
 */
export const stepNames = [
  /** eapi: the request is proven and about to be forwarded. */
  'forward.send',
  /** An account was opened, before what it was opened for began. */
  'account.opened',
  /** A batch is made up, not sent. */
  'batch.send',
  /** A batch is committed, nobody has been told. */
  'batch.committed',
  /** A batch was halved around a row that can't be written; its first half is done. */
  'batch.halved',
  /** A transaction has written everything and is about to commit. */
  'transaction.commit',
  'transaction.committed',
  /** The call to a backend is claimed, in a transaction that is not committed. */
  'operation.claim',
  /** The claim is committed, the backend has not been called. */
  'operation.call',
  /** The backend has answered, nothing of it is written. */
  'operation.settle',
  'operation.settled',
  /** worker: an operation is claimed, its backend has not been asked what became of it. */
  'resolver.ask',
  /** worker: the backend has answered, sapi has not been told. */
  'resolver.settle',
  /** A refusal was decided, and is not the answer of its key yet. */
  'refusal.store',
  'refusal.stored',
  /** The answer is decided and committed, not a byte of it is sent. */
  'reply.send',
  /** eapi: sapi has answered, the client has not. */
  'forward.answered',
] as const;

/** The same of a worker that passes events on. */
export const webhookStepNames = [
  /** Deliveries are queued, in a transaction that is not committed. */
  'fan-out.commit',
  /** Deliveries are claimed, none is sent. */
  'delivery.claimed',
  /** A receiver has answered, nothing of it is written. */
  'delivery.answered',
  'delivery.recorded',
] as const;

export type StepName = (typeof stepNames)[number] | (typeof webhookStepNames)[number];

/** Where steps are published: `node:diagnostics_channel`. */
export const stepChannel = 'florin:step';

const steps = channel(stepChannel);

/** Says that this process has come to a step. Subscribers run at once, before this returns; without one it costs nothing. */
export const step = (name: StepName): void => {
  if (steps.hasSubscribers) steps.publish({ name });
};
