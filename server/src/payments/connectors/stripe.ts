import { AsyncLocalStorage } from 'node:async_hooks';
import { Agent, fetch } from 'undici';
import type StripeSdk from 'stripe';
import type { Mode } from '../../lib/caller.ts';
import type { Clock } from '../../lib/clock.ts';
import { AppError, invalidField } from '../../lib/errors.ts';
import type { Secret } from '../../lib/secret.ts';
import {
  NotSent,
  type CallbackMessage,
  type Connector,
  type ConnectorCall,
  type ConnectorResult,
  type ConnectorStatus,
} from './connector.ts';
import { callbackOf, refusalOf, resultOfCancel, resultOfCharge, resultOfRefund } from './stripe-results.ts';
import { statusAtStripe } from './stripe-status.ts';
import { toStripe } from './stripe-money.ts';
import { isNotSent } from './transport.ts';

type Settings = {
  secretKey: Secret;
  webhookSecret: Secret | undefined;
  url: string;
  timeoutMs: number;
  clock: Clock;
};

/**
 * Stripe by its official SDK: PaymentIntents, confirmed when they are made, without anything that needs the payer to be
 * there. The operation's id is the idempotency key, and stands in the metadata, by which the operation is found again.
 * It has met no live account: see docs/backends.md.
 */
export const openStripe = (settings: Settings): Connector => {
  const { secretKey, webhookSecret, clock } = settings;
  const wire = openWire(settings);
  const perform = async (call: ConnectorCall, run: Run): Promise<ConnectorResult> => {
    const amount = toStripe(call.amountMinor, call.currency);
    // What can't be said can't be sent, and nothing happens.
    if (amount === undefined) return { outcome: 'declined', failureCode: 'backend_error' };
    return wire.perform(call, (sdk) => run(sdk, amount, { idempotencyKey: call.operationId }));
  };
  const connector: Connector = {
    name: 'stripe',
    internal: false,
    modes: [modeOf(secretKey)],
    check: checkMethod,
    authorise: (call) =>
      perform(call, async (stripe, amount, options) => {
        const intent = await stripe.paymentIntents.create(chargeParams(call, amount), options);
        return resultOfCharge(intent, { isCaptured: call.capture });
      }),
    capture: (call) =>
      perform(call, async (stripe, amount, options) => {
        const params = { amount_to_capture: amount, metadata: { florin_capture: call.operationId } };
        const intent = await stripe.paymentIntents.capture(intentOf(call), params, options);
        return resultOfCharge(intent, { isCaptured: true });
      }),
    cancel: (call) =>
      perform(call, async (stripe, _amount, options) =>
        resultOfCancel(await stripe.paymentIntents.cancel(intentOf(call), {}, options)),
      ),
    refund: (call) =>
      perform(call, async (stripe, amount, options) => {
        const metadata = { florin_operation: call.operationId, florin_payment: call.paymentId };
        const params = { payment_intent: intentOf(call), amount, metadata };
        return resultOfRefund(await stripe.refunds.create(params, options));
      }),
    status: (call) => wire.ask(call, (stripe) => statusAtStripe(stripe, call)),
    close: () => wire.close(),
  };
  if (!webhookSecret) return connector;
  return {
    ...connector,
    readCallback: async ({ headers, body }) => {
      const { sdk } = await wire.loaded;
      return callbackOf(proveEvent(sdk, { headers, body }, { secret: webhookSecret, now: clock.now() }));
    },
  };
};

/** @throws AppError `invalid_credentials` for what Stripe did not sign, or signed more than five minutes ago */
const proveEvent = (
  sdk: StripeSdk,
  { headers, body }: CallbackMessage,
  { secret, now }: { secret: Secret; now: Date },
): StripeSdk.Event => {
  const signature = String(headers['stripe-signature'] ?? '');
  try {
    const { webhooks } = sdk;
    return webhooks.constructEvent(body, signature, secret.reveal(), undefined, undefined, now.getTime());
  } catch (cause) {
    throw new AppError('invalid_credentials', 'The signature of Stripe does not fit, or is too old.', {
      cause,
    });
  }
};

/** A key is of one mode, and says which. Restricted keys begin with `rk_`. */
const modeOf = (key: Secret): Mode => (/^[sr]k_test_/.test(key.reveal()) ? 'test' : 'live');

const checkMethod = (paymentMethod: string): void => {
  if (!/^stripe:pm_[A-Za-z0-9_]+$/.test(paymentMethod))
    throw invalidField('payment_method', 'name a payment method of Stripe, such as "stripe:pm_card_visa"');
};

const chargeParams = (
  call: ConnectorCall & { capture: boolean },
  amount: number,
): StripeSdk.PaymentIntentCreateParams => ({
  amount,
  currency: call.currency.toLowerCase(),
  payment_method: call.paymentMethod.slice('stripe:'.length),
  confirm: true,
  capture_method: call.capture ? 'automatic' : 'manual',
  // Nobody is there who could be sent to a page of their bank.
  automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
  error_on_requires_action: true,
  metadata: { florin_operation: call.operationId, florin_payment: call.paymentId },
});

const intentOf = ({ authorisation }: ConnectorCall): string => {
  if (authorisation === undefined) throw new Error('The PaymentIntent of this payment is not known');
  return authorisation;
};

type Run = (sdk: StripeSdk, amount: number, options: { idempotencyKey: string }) => Promise<ConnectorResult>;

type Wire = {
  loaded: Promise<{ sdk: StripeSdk }>;
  /** A call that moves money: sent once, whatever the SDK thinks of trying again. */
  perform(call: ConnectorCall, run: (sdk: StripeSdk) => Promise<ConnectorResult>): Promise<ConnectorResult>;
  ask(call: ConnectorCall, run: (sdk: StripeSdk) => Promise<ConnectorStatus>): Promise<ConnectorStatus>;
  close(): Promise<void>;
};

/** One call of ours, which may be several requests: its time limit, and how many of them could have moved money. */
type Underway = { signal: AbortSignal; posts: number };

const answerMaxBytes = 4 * 1024 * 1024;

/** The SDK over connections of our own: bounded answers, our time limit, and no second attempt. */
const openWire = ({ secretKey, url, timeoutMs }: Settings): Wire => {
  const agent = new Agent({
    maxResponseSize: answerMaxBytes,
    connections: 128,
    connect: { timeout: Math.ceil(timeoutMs / 2) },
  });
  const underway = new AsyncLocalStorage<Underway>();
  const send = async (target: string, init: RequestInit = {}): Promise<unknown> => {
    const call = underway.getStore();
    if (call && init.method === 'POST' && (call.posts += 1) > 1)
      throw new Error('Stripe is not called a second time');
    const signals = [init.signal, call?.signal].filter((signal) => signal instanceof AbortSignal);
    // The same members by the types of Node and of undici.
    const request = { ...init, dispatcher: agent, redirect: 'error', signal: AbortSignal.any(signals) };
    return fetch(target, request as Parameters<typeof fetch>[1]);
  };
  // Only who uses Stripe waits for its SDK to be read.
  const loaded = import('stripe').then(({ default: Stripe }) => {
    const { protocol, hostname, port } = new URL(url);
    const sdk = new Stripe(secretKey.reveal(), {
      // `fetch` of undici, whose types are not those of the DOM.
      httpClient: Stripe.createFetchHttpClient(send as unknown as typeof globalThis.fetch),
      protocol: protocol === 'http:' ? 'http' : 'https',
      host: hostname,
      ...(port !== '' && { port }),
      maxNetworkRetries: 0,
      timeout: timeoutMs,
      telemetry: false,
    });
    return { sdk };
  });
  const within = async <Result>({ signal }: ConnectorCall, run: (sdk: StripeSdk) => Promise<Result>) => {
    const { sdk } = await loaded;
    return underway.run({ signal, posts: 0 }, () => run(sdk));
  };
  return {
    loaded,
    perform: async (call, run) => {
      try {
        return await within(call, run);
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal) return refusal;
        throw isUnsent(error) ? new NotSent('Stripe could not be reached', { cause: error }) : error;
      }
    },
    ask: within,
    close: () => agent.destroy(),
  };
};

/** The SDK keeps what went wrong underneath as `detail`. */
const isUnsent = (error: unknown): boolean =>
  error instanceof Error && 'detail' in error && isNotSent(error.detail);
