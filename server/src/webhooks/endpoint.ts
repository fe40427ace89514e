import type { Change } from '../journal/entry.ts';
import type { Context } from '../lib/caller.ts';
import type { Endpoint } from './endpoint-store.ts';
import type { WebhookEndpoint } from './schema.ts';

/** One write of a caller: its circumstances and its Idempotency-Key. */
export type Write = { context: Context; key: string | undefined };

/** What a write may be refused with because of its Idempotency-Key. */
export const writeErrors = ['idempotency_key_reused', 'request_in_flight'] as const;

/** An endpoint as the API shows it: never its secret. */
export const endpointJson = (endpoint: Endpoint): WebhookEndpoint => ({
  id: endpoint.id,
  object: 'webhook_endpoint',
  mode: endpoint.mode,
  url: endpoint.url,
  events: [...endpoint.events],
  description: endpoint.description,
  metadata: endpoint.metadata,
  ordered: endpoint.ordered,
  payload: endpoint.payload,
  status: endpoint.state,
  disabled_reason: endpoint.disabledReason,
  version: endpoint.version,
  created_at: endpoint.createdAt.toISOString(),
  updated_at: endpoint.updatedAt.toISOString(),
});

/** The kinds of journal entries about endpoints that vendors are told. */
export type EndpointEventKind = `webhook_endpoint.${
  | 'created'
  | 'updated'
  | 'enabled'
  | 'disabled'
  | 'deleted'
  | 'secret_rotated'
  | 'tested'}`;

/** The journal entry of a change that led to this version of an endpoint. */
export const endpointEntry = (kind: EndpointEventKind, endpoint: Endpoint): Change => ({
  kind,
  object: { type: 'webhook_endpoint', id: endpoint.id, version: endpoint.version },
  snapshot: endpointJson(endpoint),
});
