import { killKinds, type KillKind } from './webhooks-kills.ts';
import type { Tally } from './clients.ts';
import type { Treatment } from './webhooks-receiver.ts';

/** What a run with webhooks did and found. */
export type WebhooksReport = {
  seed: number;
  tookMs: number;
  /** How often each kind of kill struck, and how often its step was waited for in vain. */
  kills: Record<KillKind, { hit: number; missed: number }>;
  /** Events times the endpoints that have to be told of them. */
  owed: number;
  /** Different messages that came, and messages. */
  delivered: number;
  arrived: number;
  treatments: Record<Treatment, number>;
  endpoints: number;
  tally: Tally;
  differences: string[];
};

/** Kinds of kills that never struck: a run with such a kind has not shown what it says. */
export const neverStruck = ({ kills }: Pick<WebhooksReport, 'kills'>): KillKind[] =>
  killKinds.filter((kind) => kills[kind].hit === 0);

/** How many kills struck. */
export const struckIn = ({ kills }: Pick<WebhooksReport, 'kills'>): number =>
  Object.values(kills).reduce((sum, { hit }) => sum + hit, 0);

/** The report as a person reads it. */
export const webhooksReportLines = (report: WebhooksReport): string[] => {
  const { kills, treatments, tally } = report;
  const never = neverStruck(report);
  return [
    `seed ${report.seed}: ${struckIn(report)} kills in ${(report.tookMs / 1000).toFixed(0)} s`,
    '',
    'Killed: a service or PostgreSQL at a random moment, or at a step of a delivery',
    ...killKinds.map((kind) => line(kind, hitText(kills[kind]))),
    '',
    'Deliveries',
    line('owed', `${report.owed} to ${report.endpoints} endpoints`),
    line(
      'arrived',
      `${report.delivered}, and ${report.arrived - report.delivered} once more under the same id`,
    ),
    line('accepted', String(treatments.accepted)),
    line('answered 500', String(treatments.refused)),
    line('never answered', String(treatments.ignored)),
    line('read and hung up on', String(treatments.dropped)),
    line('requests of clients', `${tally.sent}, ${tally.repeated} of them repeated`),
    '',
    ...(never.length > 0 ? [`Never struck: ${never.join('; ')}. This run shows nothing about them.`] : []),
    ...report.differences.slice(0, shownMax),
    `${report.differences.length} differences`,
  ];
};

const shownMax = 50;

const line = (name: string, value: string): string => `  ${name.padEnd(30)} ${value}`;

const hitText = ({ hit, missed }: { hit: number; missed: number }): string =>
  missed === 0 ? String(hit) : `${hit}, ${missed} times waited for in vain`;
