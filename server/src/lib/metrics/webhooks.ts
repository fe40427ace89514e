import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What workers send to vendors. Counts of what is queued are those of the one worker that makes deliveries of events. */
export const webhookMetrics = (registers: Registry[]) => {
  const attempts = new Histogram({
    name: 'payments_webhook_attempt_duration_seconds',
    help:
      'Time of an attempt in seconds, by what came of it: `accepted`, `refused` (an answer that is not 2xx) or `silent` ' +
      '(none).',
    labelNames: ['answer'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers,
  });
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers });
  return {
    queued: new Counter({
      name: 'payments_webhook_deliveries_queued_total',
      help: 'Deliveries that were made of events.',
      registers,
    }),
    attempts: {
      accepted: attempts.labels({ answer: 'accepted' }),
      refused: attempts.labels({ answer: 'refused' }),
      silent: attempts.labels({ answer: 'silent' }),
    },
    firstAttempts: new Histogram({
      name: 'payments_webhook_first_attempt_delay_seconds',
      help: 'Time from when an event was committed to the end of the first attempt to tell it, in seconds.',
      buckets: [0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600],
      registers,
    }),
    inFlight: gauge('payments_webhook_in_flight', 'Deliveries that this worker has under way.'),
    pending: gauge(
      'payments_webhook_queue_depth',
      'Deliveries that are to be sent, now or later; 100000 stands for more.',
    ),
    oldestAge: gauge(
      'payments_webhook_queue_oldest_age_seconds',
      'For how long the oldest of them has been due; 0 when none is.',
    ),
    deadLetters: gauge(
      'payments_webhook_dead_letters',
      'Deliveries that were given up, kept to be sent again by hand; 100000 stands for more.',
    ),
    openCircuits: gauge(
      'payments_webhook_open_circuits',
      'Endpoints that nothing is sent to for now, because they accept nothing.',
    ),
    lag: gauge(
      'payments_webhook_fan_out_lag_entries',
      'Journal entries that are not yet made deliveries of.',
    ),
  };
};
