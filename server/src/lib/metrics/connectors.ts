import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** One call to a payment backend that has ended. */
export type ConnectorCallEnd = { connector: string; kind: string; result: string; durationMs: number };

const durationBucketsS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** What is told of payment backends: our calls to them, and what they tell by themselves. */
export const connectorMetrics = (registers: Registry[]) => {
  const calls = new Counter({
    name: 'payments_connector_calls_total',
    help:
      'Calls to payment backends, by connector, kind and result: `approved`, `declined`, `pending`, `absent`, `no_answer` ' +
      '(the outcome is unknown), `unreachable` (nothing was sent).',
    labelNames: ['connector', 'kind', 'result'],
    registers,
  });
  const durations = new Histogram({
    name: 'payments_connector_call_duration_seconds',
    help: 'Time of a call to a payment backend in seconds, by connector and kind.',
    labelNames: ['connector', 'kind'],
    registers,
    buckets: durationBucketsS,
  });
  return {
    onConnectorCall: ({ connector, kind, result, durationMs }: ConnectorCallEnd): void => {
      calls.inc({ connector, kind, result });
      durations.observe({ connector, kind }, durationMs / 1000);
    },
    /** 1 while a payment backend is not called, because it answered nobody. */
    connectorCircuit: new Gauge({
      name: 'payments_connector_circuit_open',
      help: 'Whether a payment backend is not called at the moment, because its last calls had no answer: 1 or 0.',
      labelNames: ['connector'],
      registers,
    }),
    /** Messages that payment backends sent by themselves. */
    callbacks: new Counter({
      name: 'payments_callbacks_total',
      help: 'Messages from payment backends, by connector and what came of them.',
      labelNames: ['connector', 'result'],
      registers,
    }),
  };
};
