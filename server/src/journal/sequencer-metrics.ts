import { Counter, Gauge, type Registry } from 'prom-client';

export type SequencerMetrics = ReturnType<typeof sequencerMetrics>;

/** The sequencer's metrics on the registry of its process, where a restarted one finds them again. None has labels. */
export const sequencerMetrics = (registry: Registry) => {
  const gauge = (name: string, help: string): Gauge =>
    // Only this function registers these names.
    (registry.getSingleMetric(name) as Gauge | undefined) ?? new Gauge({ name, help, registers: [registry] });
  const heads = 'payments_journal_heads_total';
  return {
    leader: gauge('payments_journal_sequencer_leader', 'Whether this process orders the journal, 1 or 0.'),
    position: gauge('payments_journal_position', 'How many journal entries have their position.'),
    lagEntries: gauge(
      'payments_journal_lag_entries',
      'Journal entries that waited for their position at the last look.',
    ),
    lagSeconds: gauge('payments_journal_lag_seconds', 'Age of the oldest of these, in seconds.'),
    heads:
      // As above.
      (registry.getSingleMetric(heads) as Counter | undefined) ??
      new Counter({ name: heads, help: 'Signed heads of the journal.', registers: [registry] }),
  };
};
