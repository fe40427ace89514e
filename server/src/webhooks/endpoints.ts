import { answerOnce, type GivenAnswer } from '../journal/idempotency.ts';
import { append, getEntryOf } from '../journal/journal.ts';
import type { JournalEntry } from '../journal/entry.ts';
import type { Context } from '../lib/caller.ts';
import type { Db, Tx } from '../lib/database.ts';
import { AppError } from '../lib/errors.ts';
import { newId, type Id } from '../lib/ids.ts';
import type { Outbound } from '../lib/outbound/outbound.ts';
import type { Secret } from '../lib/secret.ts';
import {
  countEndpoints,
  forgiveEndpoint,
  insertEndpoint,
  lockEndpoint,
  startFromNow,
  updateEndpoint as storeEndpoint,
  type Endpoint,
} from './endpoint-store.ts';
import { endpointEntry, type EndpointEventKind, type Write } from './endpoint.ts';
import type { CreateEndpointBody, DisabledReason, UpdateEndpointBody } from './schema.ts';
import { addSecret, openShown, sealShown, type EndpointKeys } from './secrets.ts';

export type EndpointParts = {
  db: Db;
  endpointKeys: EndpointKeys;
  outbound: Pick<Outbound, 'checkUrl'>;
  webhooks: { endpointsMax: number };
};

/**
 * Makes an endpoint with its first secret, enabled. The secret is shown in this answer and in its replays.
 * @throws AppError `invalid_request` for an address that nothing may be sent to, `limit_reached`
 */
export const createEndpoint = async (
  { db, endpointKeys: keys, outbound, webhooks }: EndpointParts,
  { context, key }: Write,
  body: CreateEndpointBody,
): Promise<GivenAnswer & { secret: Secret }> => {
  const url = outbound.checkUrl(body.url, 'url').href;
  const { tenantId } = context;
  const answer = await answerOnce(
    db,
    { context, operation: 'webhook_endpoints.create', key, request: body },
    async (tx) => {
      if ((await countEndpoints(tx, tenantId)) >= webhooks.endpointsMax)
        throw new AppError(
          'limit_reached',
          `There are ${webhooks.endpointsMax} webhook endpoints, more are not allowed. Delete one that is not needed.`,
        );
      const endpoint = await insertEndpoint(tx, {
        id: newId('webhook_endpoint'),
        tenantId,
        url,
        events: body.events,
        description: body.description ?? null,
        metadata: body.metadata ?? {},
        ordered: body.ordered ?? false,
        payload: body.payload ?? 'full',
        createdAt: context.now,
      });
      const secret = await addSecret(tx, keys, context, endpoint.id);
      const entry = await append(tx, context, endpointEntry('webhook_endpoint.created', endpoint));
      return { status: 201, entry, sealed: sealShown(keys, endpoint.id, secret) };
    },
  );
  return { ...answer, secret: openShown(keys, idOfEntry(answer.entry), answer.sealed) };
};

/** Changes what is given and leaves the rest. @throws AppError `not_found`, `invalid_request` for the address */
export const updateEndpoint = (
  { db, outbound }: Pick<EndpointParts, 'db' | 'outbound'>,
  write: Write,
  id: Id<'webhook_endpoint'>,
  changes: UpdateEndpointBody,
): Promise<GivenAnswer> => {
  const url = changes.url === undefined ? undefined : outbound.checkUrl(changes.url, 'url').href;
  const request = { id, ...changes };
  return change(db, write, { id, operation: 'update', request }, async (tx, endpoint) => {
    if (url !== undefined && url !== endpoint.url) await forgiveEndpoint(tx, endpoint);
    const { url: _, ...others } = changes;
    return record(tx, write.context, 'webhook_endpoint.updated', {
      ...endpoint,
      ...others,
      ...(url !== undefined && { url }),
    });
  });
};

/**
 * Sends to an endpoint again: what was waiting for it, and what happens from now on.
 * @throws AppError `not_found`
 */
export const enableEndpoint = (db: Db, write: Write, id: Id<'webhook_endpoint'>): Promise<GivenAnswer> =>
  change(db, write, { id, operation: 'enable', request: { id } }, async (tx, endpoint) => {
    if (endpoint.state === 'enabled') return unchanged(tx, endpoint);
    await forgiveEndpoint(tx, endpoint);
    await startFromNow(tx, endpoint);
    const enabled = { ...endpoint, state: 'enabled' as const, disabledReason: null };
    return record(tx, write.context, 'webhook_endpoint.enabled', enabled);
  });

/** Sends nothing to an endpoint until it is enabled again. What is waiting for it stays. @throws AppError `not_found` */
export const disableEndpointOnRequest = (
  db: Db,
  write: Write,
  id: Id<'webhook_endpoint'>,
): Promise<GivenAnswer> =>
  change(db, write, { id, operation: 'disable', request: { id } }, async (tx, endpoint) =>
    endpoint.state === 'disabled'
      ? unchanged(tx, endpoint)
      : disabled(tx, write.context, endpoint, 'requested'),
  );

/**
 * Disables an endpoint that is gone or has been failing for days, and tells so with an event.
 * @param context of the endpoint's tenant
 * @returns undefined when it is not enabled any more
 */
export const disableEndpoint = async (
  tx: Tx,
  context: Context,
  { tenantId, id }: Pick<Endpoint, 'tenantId' | 'id'>,
  reason: Exclude<DisabledReason, 'requested'>,
): Promise<JournalEntry | undefined> => {
  const endpoint = await lockEndpoint(tx, { tenantId, id }).catch(ignoreMissing);
  return endpoint?.state === 'enabled' ? disabled(tx, context, endpoint, reason) : undefined;
};

/** Takes an endpoint away for good; what was waiting for it is not sent. @throws AppError `not_found` */
export const deleteEndpoint = (db: Db, write: Write, id: Id<'webhook_endpoint'>): Promise<GivenAnswer> =>
  change(db, write, { id, operation: 'delete', request: { id } }, (tx, endpoint) =>
    record(tx, write.context, 'webhook_endpoint.deleted', {
      ...endpoint,
      state: 'deleted',
      disabledReason: null,
    }),
  );

/**
 * Sends a test event to an endpoint, on the way that all events go.
 * @throws AppError `not_found`, `invalid_state` unless it is enabled
 */
export const testEndpoint = (db: Db, write: Write, id: Id<'webhook_endpoint'>): Promise<GivenAnswer> =>
  change(db, write, { id, operation: 'test', request: { id }, status: 202 }, async (tx, endpoint) => {
    if (endpoint.state !== 'enabled')
      throw new AppError(
        'invalid_state',
        'Nothing is sent to an endpoint that is disabled. Enable it first.',
      );
    return record(tx, write.context, 'webhook_endpoint.tested', endpoint);
  });

type Changing = {
  id: Id<'webhook_endpoint'>;
  operation: 'update' | 'enable' | 'disable' | 'delete' | 'test';
  request: { id: Id<'webhook_endpoint'> } & UpdateEndpointBody;
  status?: number;
};

const change = (
  db: Db,
  { context, key }: Write,
  { id, operation, request, status = 200 }: Changing,
  act: (tx: Tx, endpoint: Endpoint) => Promise<JournalEntry>,
): Promise<GivenAnswer> =>
  answerOnce(db, { context, operation: `webhook_endpoints.${operation}`, key, request }, async (tx) => ({
    status,
    entry: await act(tx, await lockEndpoint(tx, { tenantId: context.tenantId, id })),
  }));

/** Stores the next version of an endpoint with its journal entry. */
const record = async (
  tx: Tx,
  context: Context,
  kind: EndpointEventKind,
  endpoint: Endpoint,
): Promise<JournalEntry> => {
  const stored = await storeEndpoint(tx, { ...endpoint, updatedAt: context.now });
  return append(tx, context, endpointEntry(kind, stored));
};

const disabled = (
  tx: Tx,
  context: Context,
  endpoint: Endpoint,
  reason: DisabledReason,
): Promise<JournalEntry> =>
  record(tx, context, 'webhook_endpoint.disabled', {
    ...endpoint,
    state: 'disabled',
    disabledReason: reason,
  });

/** What is so already is answered as it was when it became so. */
const unchanged = (tx: Tx, { tenantId, id, version }: Endpoint): Promise<JournalEntry> =>
  getEntryOf(tx, { tenantId, id, version });

const ignoreMissing = (error: unknown): undefined => {
  if (error instanceof AppError && error.code === 'not_found') return undefined;
  throw error;
};

const idOfEntry = ({ object }: JournalEntry): Id<'webhook_endpoint'> => {
  if (object?.type !== 'webhook_endpoint')
    throw new Error('the entry of a new endpoint is about something else');
  return object.id as Id<'webhook_endpoint'>; // the type of an object is the kind of its id
};
