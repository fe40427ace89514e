import { Gauge, type Registry } from 'prom-client';

type Described = { name: string; help: string; labelNames?: readonly string[] };

/** A gauge whose value is asked for at every scrape, and costs nothing in between. */
export const askedGauge = (
  registers: readonly Registry[],
  described: Described,
  ask: (gauge: Gauge) => void,
): void => {
  const gauge = new Gauge({
    ...described,
    labelNames: described.labelNames ?? [],
    registers: [],
    collect() {
      ask(this);
    },
  });
  for (const registry of registers) registry.registerMetric(gauge);
};
