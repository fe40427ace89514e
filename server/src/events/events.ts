import type { Mode } from '../lib/caller.ts';
import type { Json } from '../lib/canonical.ts';
import type { Db, Tx } from '../lib/database.ts';
import { notFound } from '../lib/errors.ts';
import type { Id, IdKind } from '../lib/ids.ts';
import { findEvent, selectAt } from './store.ts';

/** A public entry of the journal, in its place. `data` is as it was stored: without personal data. */
export type EventRecord = {
  position: bigint;
  tenantId: number;
  id: Id<'journal_entry'>;
  type: string;
  mode: Mode;
  object: { type: string; id: Id<IdKind> } | null;
  /** The version of the object after the change. */
  sequence: number | null;
  data: Json;
  createdAt: Date;
};

/** An event as vendors get it, from the list and in a webhook. Without `data` it is thin. */
export type Envelope = {
  id: Id<'journal_entry'>;
  type: string;
  created_at: string;
  sequence: number | null;
  mode: Mode;
  object: { type: string; id: Id<IdKind> } | null;
  data?: Json;
};

/** Puts an event into its envelope. Personal data is in it if `completeEvents` was there before. */
export const envelopeOf = (event: EventRecord, { payload }: { payload: 'full' | 'thin' }): Envelope => ({
  id: event.id,
  type: event.type,
  created_at: event.createdAt.toISOString(),
  sequence: event.sequence,
  mode: event.mode,
  object: event.object,
  ...(payload === 'full' && { data: event.data }),
});

/** The events at these positions, in order. A position whose entry is no event gives none. */
export const listEventsAt = (db: Db | Tx, positions: readonly bigint[]): Promise<EventRecord[]> =>
  selectAt(db, positions);

/** @throws AppError `not_found`, also for events of others, and for one that is older than `since` */
export const getEvent = async (
  db: Db,
  key: { tenantId: number; id: Id<'journal_entry'>; since: Date },
): Promise<EventRecord> => {
  const event = await findEvent(db, key);
  if (!event) throw notFound('event');
  return event;
};

const dayMs = 86_400_000;

/** How far back events are shown: `retention.events_days`. The journal keeps their entries. */
export const shownSince = (now: Date, eventsDays: number): Date =>
  new Date(now.getTime() - eventsDays * dayMs);
