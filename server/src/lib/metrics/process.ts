import { cpus } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import { askedGauge } from './gauge.ts';

/** What the machine and the event loop are busy with, each since the last scrape. */
export const processMetrics = (registers: Registry[]): void => {
  systemCpu(registers);
  eventLoop(registers);
};

const eventLoop = (registers: Registry[]): void => {
  let before = performance.eventLoopUtilization();
  const name = 'nodejs_eventloop_utilization';
  const help = 'Share of the time since the last scrape in which the event loop worked, 0 to 1.';
  askedGauge(registers, { name, help }, (gauge) => {
    const now = performance.eventLoopUtilization();
    gauge.set(performance.eventLoopUtilization(now, before).utilization);
    before = now;
  });
};

const systemCpu = (registers: Registry[]): void => {
  let before = cpuTimes();
  const help = 'Share of the machine that was busy since the last scrape, 0 to 1.';
  askedGauge(registers, { name: 'system_cpu_usage', help }, (gauge) => {
    const now = cpuTimes();
    const total = now.total - before.total;
    gauge.set(total === 0 ? 0 : (now.busy - before.busy) / total);
    before = now;
  });
};

const cpuTimes = (): { busy: number; total: number } => {
  const times = cpus().map((cpu) => cpu.times);
  const total = times.reduce(
    (sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq,
    0,
  );
  return { busy: total - times.reduce((sum, { idle }) => sum + idle, 0), total };
};
