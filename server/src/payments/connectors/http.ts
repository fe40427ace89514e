import type { KeyObject } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { holdsCardNumber } from '../../lib/cards.ts';
import type { Clock } from '../../lib/clock.ts';
import { AppError } from '../../lib/errors.ts';
import { idOf } from '../../lib/http/schemas.ts';
import { newId, type Id } from '../../lib/ids.ts';
import type { Secret } from '../../lib/secret.ts';
import { failureCodes, type FailureCode } from '../schema.ts';
import type {
  Callback,
  Connector,
  ConnectorCall,
  ConnectorResult,
  ConnectorStatus,
  OperationKind,
} from './connector.ts';
import { proveMessage, signedHeaders, signingKey } from './signature.ts';
import { openTransport, type Transport } from './transport.ts';

type Settings = { url: string; secret: Secret; timeoutMs: number; clock: Clock };

/**
 * A payment backend of the operator's own behind HTTP, by the contract of docs/api/backend.yml. Only an answer of that
 * form is believed: whatever else comes, and silence, leaves open what happened, and is asked about later.
 */
export const openHttp = ({ url, secret, timeoutMs, clock }: Settings): Connector => {
  const transport = openTransport(url, { timeoutMs });
  const key = signingKey(secret);
  const ask = (kind: RequestKind, call: ConnectorCall, more: object = {}): Promise<ConnectorStatus> =>
    exchange({ transport, key, clock }, kind, call, more);
  const perform =
    (kind: OperationKind) =>
    async (call: ConnectorCall & { capture?: boolean }): Promise<ConnectorResult> => {
      const said = await ask(kind, call, call.capture === undefined ? {} : { capture: call.capture });
      if (said.outcome !== 'absent') return said;
      throw new Error(`The backend answered "absent" to ${kind}, which says nothing about it`);
    };
  return {
    name: 'http',
    internal: false,
    authorise: perform('authorise'),
    capture: perform('capture'),
    cancel: perform('cancel'),
    refund: perform('refund'),
    status: ({ kind, ...call }) => ask('status', call, { of: kind }),
    readCallback: async (message) => {
      const id = proveMessage(key, message, clock.now());
      return callbackOf(id, message.body);
    },
    close: () => transport.close(),
  };
};

type RequestKind = OperationKind | 'status';

type Parts = { transport: Transport; key: KeyObject; clock: Clock };

const exchange = async (
  { transport, key, clock }: Parts,
  kind: RequestKind,
  call: ConnectorCall,
  more: object,
): Promise<ConnectorStatus> => {
  const body = JSON.stringify({
    kind,
    ...more,
    operation_id: call.operationId,
    payment_id: call.paymentId,
    mode: call.mode,
    amount_minor: call.amountMinor.toString(),
    currency: call.currency,
    payment_method: call.paymentMethod.split(':')[1] ?? null,
    reference: call.authorisation ?? null,
  });
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json',
    'idempotency-key': call.operationId,
    ...signedHeaders(key, { id: newId('request'), at: clock.now(), body }),
  };
  const reply = await transport.post(`/${kind}`, { headers, body, signal: call.signal });
  // A gateway in front of the backend has statuses of its own, and a request may have got further than they say.
  if (reply.status !== 200) throw new Error(`The backend answered ${reply.status} to ${kind}`);
  return resultOf(answerIn(reply.body), call.operationId);
};

const Said = Type.Object({
  operation_id: idOf('operation'),
  outcome: Type.Enum(['approved', 'declined', 'pending', 'absent']),
  amount_minor: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,17}$' })),
  currency: Type.Optional(Type.String({ pattern: '^[A-Z]{3}$' })),
  reference: Type.Optional(Type.String({ pattern: '^[!-~]{1,255}$' })),
  failure_code: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
});
type Said = Static<typeof Said>;

const isSaid = Compile(Said);
const isCallback = Compile(
  Type.Object({
    ...Said.properties,
    type: Type.Literal('operation.updated'),
    outcome: Type.Enum(['approved', 'declined', 'pending']),
  }),
);

/** @throws Error when the answer is not of the contract: it says nothing then */
const answerIn = (text: string): Said => {
  const answer: unknown = JSON.parse(text);
  if (!isSaid.Check(answer)) throw new Error('The backend gave an answer that is not of the contract');
  return answer;
};

const callbackOf = (id: string, body: Buffer): Callback => {
  const message = jsonIn(body);
  if (!isCallback.Check(message)) {
    throw new AppError('invalid_request', 'The body is no operation.updated; see docs/api/backend.yml.');
  }
  // A callback has no outcome `absent`, so neither has what is read from it.
  const result = resultOf(message, message.operation_id) as ConnectorResult;
  return { id, operationId: message.operation_id, result };
};

const jsonIn = (body: Buffer): unknown => {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new AppError('invalid_request', 'The body is not JSON.', { cause });
  }
};

/** @throws AppError when an approval does not say of what, or it speaks of another operation */
const resultOf = (said: Said, operationId: Id<'operation'>): ConnectorStatus => {
  const { outcome, amount_minor: amount, currency, reference, failure_code: failureCode } = said;
  if (said.operation_id !== operationId) {
    throw new AppError('invalid_request', 'operation_id: is of another operation.');
  }
  if (outcome === 'absent') return { outcome };
  if (outcome === 'pending') return { outcome: 'unknown', isPending: true };
  if (outcome === 'declined') return { outcome, failureCode: codeOf(failureCode) };
  if (amount === undefined || currency === undefined) {
    throw new AppError('invalid_request', 'amount_minor, currency: what was approved has to be said.');
  }
  const moved = { amountMinor: BigInt(amount), currency };
  // A number of a card is kept nowhere, whatever it is called (PCI DSS 3.3).
  return reference === undefined || holdsCardNumber(reference)
    ? { outcome, moved }
    : { outcome, moved, backendReference: reference };
};

/** A backend may have more reasons than we do; `not_received` is ours alone to say. */
const codeOf = (code: string | undefined): FailureCode =>
  failureCodes.find((known) => known === code && known !== 'not_received') ?? 'do_not_honor';
