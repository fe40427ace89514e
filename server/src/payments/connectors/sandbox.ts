import { setTimeout as wait } from 'node:timers/promises';
import { invalidField } from '../../lib/errors.ts';
import type { FailureCode } from '../schema.ts';
import type { Connector, ConnectorCall, ConnectorResult, OperationKind } from './connector.ts';

type Step =
  | 'approve'
  | 'approve_slowly'
  | 'approve_twice'
  | 'hang_after_charging'
  | 'hang_before_charging'
  | FailureCode;
type Case = { says: string; steps: Partial<Record<OperationKind, Step>> };

const declines = (failureCode: FailureCode, says: string): Case => ({
  says,
  steps: { authorise: failureCode },
});

/** Every test payment method `sandbox:<case>` and what it does. A step that is not named approves. */
export const sandboxCases: Readonly<Record<string, Case>> = {
  approve: { says: 'Approves everything.', steps: {} },
  slow: { says: 'Approves after two seconds.', steps: { authorise: 'approve_slowly' } },
  decline_insufficient_funds: declines('insufficient_funds', 'Declines: the payer has too little money.'),
  decline_card_expired: declines('card_expired', 'Declines: the card is past its date.'),
  decline_do_not_honor: declines('do_not_honor', 'Declines without a reason.'),
  decline_suspected_fraud: declines('suspected_fraud', 'Declines: the issuer suspects fraud.'),
  decline_limit_exceeded: declines('limit_exceeded', "Declines: over the payer's limit."),
  decline_backend_error: declines(
    'backend_error',
    'Declines: the backend says it failed and charged nothing.',
  ),
  capture_declined: { says: 'Authorises, then declines the capture.', steps: { capture: 'do_not_honor' } },
  refund_declined: { says: 'Charges, then declines refunds.', steps: { refund: 'backend_error' } },
  timeout_after_charging: {
    says: 'Charges and never answers. Asked later, it says it charged.',
    steps: { authorise: 'hang_after_charging' },
  },
  timeout_before_charging: {
    says: 'Never answers and never charges. Asked later, it says so.',
    steps: { authorise: 'hang_before_charging' },
  },
  refund_timeout: {
    says: 'Charges; a refund happens but is never answered.',
    steps: { refund: 'hang_after_charging' },
  },
  duplicate_answer: {
    says: 'Approves and delivers its answer twice.',
    steps: { authorise: 'approve_twice' },
  },
};

/** @throws AppError `invalid_request` naming `payment_method` when the case does not exist */
export const checkSandboxCase = (paymentMethod: string): void => {
  if (!Object.hasOwn(sandboxCases, caseName(paymentMethod))) {
    const known = Object.keys(sandboxCases).map((name) => `sandbox:${name}`);
    throw invalidField('payment_method', `the sandbox has no such case; it has ${known.join(', ')}`);
  }
};

/** A deterministic simulator of a payment backend: its answer depends on the payment method alone. */
export const sandbox: Connector = {
  name: 'sandbox',
  internal: false,
  authorise: (call) => perform('authorise', call),
  capture: (call) => perform('capture', call),
  cancel: (call) => perform('cancel', call),
  refund: (call) => perform('refund', call),
  status: async ({ kind, ...call }) => truth(stepOf(kind, call), call),
};

const slowMs = 2_000;

const perform = async (kind: OperationKind, call: ConnectorCall): Promise<ConnectorResult> => {
  const step = stepOf(kind, call);
  if (step === 'approve_slowly') await wait(slowMs, undefined, { signal: call.signal });
  if (step === 'hang_after_charging' || step === 'hang_before_charging') return silence(call.signal);
  return { ...truth(step, call), ...(step === 'approve_twice' && { repeated: true }) };
};

/** Ends when the caller's patience does. */
const silence = (signal: AbortSignal): Promise<ConnectorResult> =>
  new Promise((resolve) => {
    const giveUp = () => resolve({ outcome: 'unknown' });
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { once: true });
  });

const truth = (step: Step, call: ConnectorCall): ConnectorResult => {
  switch (step) {
    case 'approve':
    case 'approve_slowly':
    case 'approve_twice':
    case 'hang_after_charging':
      return { outcome: 'approved', backendReference: `sandbox_${call.operationId}` };
    case 'hang_before_charging':
      return { outcome: 'declined', failureCode: 'backend_error' };
    default:
      return { outcome: 'declined', failureCode: step };
  }
};

const caseName = (paymentMethod: string): string => paymentMethod.slice('sandbox:'.length);

const stepOf = (kind: OperationKind, call: ConnectorCall): Step =>
  sandboxCases[caseName(call.paymentMethod)]?.steps[kind] ?? 'approve';
