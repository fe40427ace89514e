import { setTimeout as wait } from 'node:timers/promises';
import { invalidField } from '../../lib/errors.ts';
import type { FailureCode } from '../schema.ts';
import type {
  Connector,
  ConnectorCall,
  ConnectorResult,
  ConnectorStatus,
  OperationKind,
} from './connector.ts';

type Step =
  | 'approve'
  | 'approve_slowly'
  | 'approve_twice'
  | 'hang_then_approve'
  | 'hang_then_decline'
  | 'hang_unreceived'
  | 'hang_for_ever'
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
    steps: { authorise: 'hang_then_approve' },
  },
  timeout_before_charging: {
    says: 'Never answers and never charges. Asked later, it never heard of the payment: `not_received`.',
    steps: { authorise: 'hang_unreceived' },
  },
  timeout_declined: {
    says: 'Never answers. Asked later, it says it declined.',
    steps: { authorise: 'hang_then_decline' },
  },
  timeout_for_ever: {
    says: 'Never answers. Asked later, it does not know either: the payment stays `unknown`.',
    steps: { authorise: 'hang_for_ever' },
  },
  capture_timeout: {
    says: 'Authorises; a capture happens but is never answered.',
    steps: { capture: 'hang_then_approve' },
  },
  cancel_timeout: {
    says: 'Authorises; a cancellation happens but is never answered.',
    steps: { cancel: 'hang_then_approve' },
  },
  refund_timeout: {
    says: 'Charges; a refund happens but is never answered.',
    steps: { refund: 'hang_then_approve' },
  },
  duplicate_answer: {
    says: 'Approves and delivers its answer twice.',
    steps: { authorise: 'approve_twice' },
  },
};

/** @throws AppError `invalid_request` naming `payment_method` when the case does not exist */
export const checkSandboxCase = (paymentMethod: string): void => {
  if (!paymentMethod.includes(':')) {
    throw invalidField('payment_method', 'name a case, such as "sandbox:approve"');
  }
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
  status: async ({ kind, ...call }) => hindsight(stepOf(kind, call), call),
};

const slowMs = 2_000;

const perform = async (kind: OperationKind, call: ConnectorCall): Promise<ConnectorResult> => {
  const step = stepOf(kind, call);
  if (step === 'approve_slowly') await wait(slowMs, undefined, { signal: call.signal });
  if (step.startsWith('hang_')) return silence(call.signal);
  const result = truth(step, call);
  return step === 'approve_twice' && result.outcome === 'approved' ? { ...result, repeated: true } : result;
};

/** Ends when the caller's patience does. */
const silence = (signal: AbortSignal): Promise<ConnectorResult> =>
  new Promise((resolve) => {
    const giveUp = () => resolve({ outcome: 'unknown' });
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { once: true });
  });

const hindsight = (step: Step, call: ConnectorCall): ConnectorStatus =>
  step === 'hang_unreceived' ? { outcome: 'absent' } : truth(step, call);

const truth = (step: Step, call: ConnectorCall): ConnectorResult => {
  switch (step) {
    case 'approve':
    case 'approve_slowly':
    case 'approve_twice':
    case 'hang_then_approve':
      return { outcome: 'approved', backendReference: `sandbox_${call.operationId}` };
    case 'hang_then_decline':
      return { outcome: 'declined', failureCode: 'do_not_honor' };
    case 'hang_unreceived':
    case 'hang_for_ever':
      return { outcome: 'unknown' };
    default:
      return { outcome: 'declined', failureCode: step };
  }
};

const caseName = (paymentMethod: string): string => paymentMethod.slice('sandbox:'.length);

const stepOf = (kind: OperationKind, call: ConnectorCall): Step =>
  sandboxCases[caseName(call.paymentMethod)]?.steps[kind] ?? 'approve';
