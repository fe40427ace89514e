import type { DescribeCustomers } from '../events/complete.ts';
import { sealedChannel } from '../lib/bell.ts';
import type { Clock } from '../lib/clock.ts';
import type { Config } from '../lib/config/config.ts';
import type { ConnectionOptions, Db } from '../lib/database.ts';
import type { Job } from '../lib/jobs.ts';
import type { Listener } from '../lib/listen.ts';
import { moduleLog, type Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Outbound } from '../lib/outbound/outbound.ts';
import { openDispatcher } from './dispatch.ts';
import { fanOutJob } from './fan-out.ts';
import type { EndpointKeys } from './secrets.ts';

/** What the jobs of webhooks work with. */
export type WebhookParts = {
  db: Db;
  connection: ConnectionOptions;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  outbound: Pick<Outbound, 'send'>;
  endpointKeys: EndpointKeys;
  describeCustomers: DescribeCustomers;
  /** Hears of `sealedChannel`. */
  listener: Pick<Listener, 'wakeOf'>;
  webhooks: Config['webhooks'];
};

/** Events become deliveries, and deliveries are sent. Every worker has these jobs. */
export const webhookJobs = (parts: WebhookParts): readonly Job[] => {
  const { clock, connection, metrics, listener, webhooks: settings } = parts;
  const log = moduleLog(parts.log, 'webhooks');
  const dispatcher = openDispatcher({ ...parts, log, settings });
  const { offer } = dispatcher;
  const sealed = listener.wakeOf(sealedChannel);
  return [fanOutJob({ clock, connection, log, metrics, sealed, offer }), dispatcher.job];
};
