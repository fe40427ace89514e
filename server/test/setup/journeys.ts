import { checkProof, parseProof } from '../../src/journal/check.ts';

/* What somebody does with a part of the API, so that every documented success of it is met. */

/** One call: what it is about, and how it is to be answered. */
export type Given = {
  ids?: Record<string, string>;
  query?: string;
  json?: unknown;
  /** Instead of JSON. */
  csv?: string;
  headers?: Record<string, string>;
  /** 2xx unless told. */
  status?: number;
};

type Body = Record<string, unknown>;

/** Calls operations by their ids, each answer held against the document. */
export type Calls = {
  call(id: string, given?: Given): Promise<Body>;
  /** Reads a list to its end. */
  pages(id: string, given?: Given): Promise<Body[]>;
  pay(json?: object): Promise<Body>;
  /** Gives what was recorded its place in the journal. */
  seal(): Promise<void>;
};

type Checked = ReturnType<typeof checkProof>;

/** A statement compared with the books, and what it finds corrected; gives what was made, also by a repeated request, and found. */
export const callReconciliations = async ({
  call,
  pages,
  pay,
}: Calls): Promise<{ made: Body; again: Body; breaks: unknown[] }> => {
  const columns = 'reference,backend_reference,kind,amount,currency,status,date,fee';
  const charge = (reference: unknown, rest: string): string =>
    `${String(reference)},ch_1,charge,${rest},succeeded`;
  const { id: payment } = await pay({ amount: '100.00', currency: 'USD' });
  const lines = [
    charge(payment, '90.00,USD'),
    charge('x', '1.00,EUR'),
    charge(payment, '100.00,USD'),
    charge('y', '7,JPY').replace('charge', 'refund').replace('ch_1', ''),
  ].map((line) => `${line},2026-11-22T08:00:00Z,`);
  const csv = [columns, ...lines].join('\n');
  const made = await call('createReconciliation', { csv, headers: { 'idempotency-key': 'rec-1' } });
  const again = await call('createReconciliation', { csv, headers: { 'idempotency-key': 'rec-1' } });
  const ids = { id: String(made['id']), number: '1' };
  const period = '?from=2026-11-22T00:00:00Z&until=2026-11-22T00:00:00Z';
  await call('createReconciliation', { csv: `${csv}\nz`, status: 400 });
  await call('createReconciliation', { csv, query: period, status: 400 });
  await call('createReconciliation', { json: {}, status: 415 });
  await call('createReconciliation', { status: 400 });
  await call('createReconciliation', { csv, query: '?connector=book' });
  await call('getReconciliation', { ids });
  const breaks = await pages('listReconciliationBreaks', { ids });
  await call('listReconciliationBreaks', { ids, query: '?type=duplicate' });
  await call('getReconciliationBreak', { ids });
  const json = { reason: 'Ticket 4711' };
  await call('correctReconciliationBreak', { ids, json });
  await call('correctReconciliationBreak', { ids, json, status: 409 });
  await call('correctReconciliationBreak', { ids: { ...ids, number: '999' }, json, status: 404 });
  await call('getReconciliationBreak', { ids });
  await pages('listReconciliations');
  await call('listReconciliations', { query: '?status=open' });
  // What the other tests paid is on no statement.
  const found = breaks.map(({ type }) => type).filter((type) => type !== 'missing_there');
  return { made, again, breaks: found };
};

/** Heads, proofs and consistency of the journal; gives what a check of a proof finds. */
export const callJournal = async ({ call, pages, pay, seal }: Calls): Promise<Checked> => {
  const [line] = (await call('listAudit'))['data'] as { id: string }[]; // as documented
  const ids = { id: line?.id ?? '' };
  await call('getJournalProof', { ids, status: 409 });
  await call('getJournalConsistency', { status: 404 });
  await seal();
  await pay();
  await seal();
  const heads = await pages('listJournalHeads');
  const proof = await call('getJournalProof', { ids });
  const [second, first] = heads.map(({ size }) => String(size));
  await call('getJournalConsistency', { query: `?first=${first}&second=${second}` });
  await call('getJournalConsistency', { query: `?first=${second}&second=${first}`, status: 400 });
  await call('getJournalProof', { ids: { id: 'evt_00000000000000000000000000' }, status: 404 });
  return checkProof(parseProof(JSON.stringify(proof)));
};

/** An endpoint from its beginning to its end; gives the sequence of the events that tell of it, the newest first. */
export const callWebhooks = async ({ call, pages, seal }: Calls): Promise<unknown[]> => {
  const json = { url: 'https://shop.example/', events: ['payment.*', 'refund.succeeded'] };
  const made = await call('createWebhookEndpoint', { json });
  await call('createWebhookEndpoint', { json: { ...json, url: 'http://10.0.0.1/' }, status: 400 });
  const ids = { id: String(made['id']) };
  await call('getWebhookEndpoint', { ids });
  await call('updateWebhookEndpoint', { ids, json: { ordered: true, payload: 'thin', description: null } });
  await call('rotateWebhookSecret', { ids, json: { overlap_hours: 1 } });
  await call('getWebhookSecret', { ids });
  await call('testWebhookEndpoint', { ids });
  await call('disableWebhookEndpoint', { ids });
  await call('testWebhookEndpoint', { ids, status: 409 });
  await call('enableWebhookEndpoint', { ids });
  await pages('listWebhookEndpoints');
  await call('deleteWebhookEndpoint', { ids });
  await call('getWebhookEndpoint', { ids, status: 404 });
  await seal();
  const events = await pages('listEvents');
  const told = events.filter(({ type }) => String(type).startsWith('webhook_endpoint.'));
  for (const { id } of told) await call('getEvent', { ids: { id: String(id) } });
  await call('listEvents', {
    query: `?order=asc&type=webhook_endpoint.*&object=${ids.id}&from=2020-01-01T00:00:00Z`,
  });
  await call('getEvent', { ids: { id: 'evt_00000000000000000000000000' }, status: 404 });
  return told.map(({ sequence }) => sequence);
};

/** What becomes of an event on its way to an endpoint; gives the types of what was queued for it. */
export const callDeliveries = async ({ call, pages, pay, seal }: Calls): Promise<unknown[]> => {
  const json = { url: 'https://shop.example/', events: ['payment.*'] };
  const made = await call('createWebhookEndpoint', { json });
  await pay();
  await seal();
  const found = await pages('listDeliveries', { query: `?endpoint=${String(made['id'])}&status=pending` });
  const [delivery = {}] = found;
  await call('listDeliveries', { query: `?event=${String(delivery['event_id'])}` });
  const ids = { id: String(delivery['id']) };
  await call('getDelivery', { ids });
  await call('getDelivery', { ids: { id: 'del_00000000000000000000000000' }, status: 404 });
  await call('retryDelivery', { ids });
  const endpoint = { id: String(made['id']) };
  await call('retryFailedDeliveries', { ids: endpoint });
  const range = { from: '2026-11-22T07:00:00Z', before: '2027-11-22T08:00:00Z' };
  await call('replayWebhookEvents', { ids: endpoint, json: range });
  await call('replayWebhookEvents', { ids: endpoint, json: range, status: 409 });
  await call('replayWebhookEvents', {
    ids: endpoint,
    json: { ...range, from: '2025-11-22T07:00:00Z' },
    status: 400,
  });
  await pages('listWebhookReplays', { ids: endpoint });
  return found.map(({ event_type: type }) => type);
};
