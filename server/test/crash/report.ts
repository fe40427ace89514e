import { stepNames, type StepName } from '../../src/lib/step.ts';
import type { Tally } from './clients.ts';
import type { Victim } from './schedule.ts';

/** What a run did and found. */
export type Report = {
  seed: number;
  tookMs: number;
  /** Kills at random moments. */
  victims: Record<Victim, number>;
  /** Kills at a step: of the service that came to it, of PostgreSQL; and how often one was waited for in vain. */
  steps: Record<StepName, { hit: number; hitPostgres: number; missed: number }>;
  calls: number;
  acknowledged: number;
  refused: number;
  /** Answered 202 at first: nobody knew the outcome. */
  unknown: number;
  tally: Tally;
  differences: string[];
};

/** Steps that were waited for and never came: a run with such a step has not shown what it says. */
export const neverHit = ({ steps }: Pick<Report, 'steps'>): StepName[] =>
  stepNames.filter((name) => steps[name].hit + steps[name].hitPostgres === 0 && steps[name].missed > 0);

/** How many kills struck. */
export const killsOf = ({ victims, steps }: Pick<Report, 'victims' | 'steps'>): number =>
  Object.values(victims).reduce((total, count) => total + count, 0) +
  Object.values(steps).reduce((total, { hit, hitPostgres }) => total + hit + hitPostgres, 0);

/** The report as a person reads it. */
export const reportLines = (report: Report): string[] => {
  const { victims, steps, tally } = report;
  const answers = [...tally.answers].sort(([a], [b]) => (a < b ? -1 : 1));
  const never = neverHit(report);
  return [
    `seed ${report.seed}: ${killsOf(report)} kills in ${(report.tookMs / 1000).toFixed(0)} s`,
    '',
    'Killed at a random moment',
    ...Object.entries(victims).map(([name, count]) => line(name, String(count))),
    '',
    'Killed at a step: the service itself, and PostgreSQL',
    ...stepNames.map((name) => line(name, stepText(steps[name]))),
    '',
    'Clients',
    line('asked for', `${report.calls} writes, each under its own key`),
    line('acknowledged', String(report.acknowledged)),
    line('refused', String(report.refused)),
    line('unknown at first', `${report.unknown} (202), all resolved in the end unless said below`),
    line('requests sent', `${tally.sent}, ${tally.repeated} of them repeated`),
    ...answers.map(([name, count]) => line(`  ${name}`, String(count))),
    '',
    ...(never.length > 0 ? [`Never came to: ${never.join(', ')}. This run shows nothing about them.`] : []),
    ...report.differences.slice(0, shownMax),
    `${report.differences.length} differences`,
  ];
};

const shownMax = 50;

const line = (name: string, value: string): string => `  ${name.padEnd(24)} ${value}`;

const stepText = ({ hit, hitPostgres, missed }: Report['steps'][StepName]): string => {
  const vain = missed === 0 ? '' : `, ${missed} times waited for in vain`;
  return `${String(hit).padStart(3)} ${String(hitPostgres).padStart(3)}${vain}`;
};
