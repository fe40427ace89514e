import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/**
 * What Node.js, PostgreSQL, the load and everything else used of one core while something was measured: 1 is a core, 2 are
 * two. What others use, or the machine's host takes away, is missing in the figures.
 */
export type Cpu = { node: number; postgres: number; load: number; others: number };

/** The processes of one measurement: those of the service, and PostgreSQL's first, whose children count with it. */
export type Watched = { node: readonly number[]; postgres: number };

type Process = { pid: number; parent: number; ownTicks: number; reapedTicks: number };

// The kernel's unit of proc(5), USER_HZ, is 100 on every architecture that Node.js runs on.
const ticksPerSecond = 100;

/** Begins to count; the function gives the shares since then, or undefined where there is no /proc. */
export const watchCpu = (watched: Watched): (() => Cpu | undefined) => {
  const before = readTicks(watched);
  const startedAt = performance.now();
  return () => {
    const after = readTicks(watched);
    if (!before || !after) return undefined;
    const ticks = ((performance.now() - startedAt) / 1000) * ticksPerSecond;
    const share = (what: 'node' | 'postgres' | 'load' | 'busy' | 'self'): number =>
      (after[what] - before[what]) / ticks;
    const [node, postgres, load] = [share('node'), share('postgres'), share('load')];
    const others = Math.max(0, share('busy') - share('self') - node - postgres - load);
    return { node, postgres, load, others };
  };
};

/** The resident memory of a process in megabytes (10^6 bytes); undefined where there is no /proc. */
export const residentMb = (pid: number): number | undefined => {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readOrNothing(`/proc/${pid}/status`) ?? '')?.[1];
  return kib === undefined ? undefined : (Number(kib) * 1024) / 1e6;
};

/** The parent of a process; undefined where there is no /proc. */
export const parentOf = (pid: number): number | undefined => readProcess(pid)?.parent;

/** What the figures were measured on, in one line. */
export const describeMachine = (root: string): string => {
  const [cpu] = cpus();
  const commit = existsSync(`${root}/.git`)
    ? execFileSync('git', ['-C', root, 'describe', '--always', '--dirty'], { encoding: 'utf8' }).trim()
    : 'unknown';
  return `${cpus().length} × ${cpu?.model ?? 'unknown processor'}, Node.js ${process.version}, commit ${commit}`;
};

type Ticks = { node: number; postgres: number; load: number; self: number; busy: number };

const readTicks = ({ node, postgres }: Watched): Ticks | undefined => {
  const self = readProcess(process.pid);
  if (!self) return undefined;
  const server = treeOf(postgres).reduce((sum, one) => sum + one.ownTicks + one.reapedTicks, 0);
  return {
    node: node.reduce((sum, pid) => sum + (readProcess(pid)?.ownTicks ?? 0), 0),
    postgres: server,
    // The load comes from children of ours that have ended when the second reading is made.
    load: self.reapedTicks,
    self: self.ownTicks,
    busy: busyTicks(),
  };
};

/** Of all processors: everything but idle and waiting for disks, the fields 4 and 5 of the line `cpu` of proc(5). */
const busyTicks = (): number => {
  const line = readOrNothing('/proc/stat')?.split('\n')[0] ?? '';
  const [user = 0, nice = 0, system = 0, , , ...rest] = line.split(/\s+/).slice(1, 9).map(Number);
  return rest.reduce((sum, ticks) => sum + ticks, user + nice + system);
};

/** A process and all below it. A connection that ended meanwhile is in what its parent has reaped. */
const treeOf = (root: number): Process[] => {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name)) ?? []);
  const found = all.filter(({ pid }) => pid === root);
  for (const process of found) found.push(...all.filter(({ parent }) => parent === process.pid));
  return found;
};

const readProcess = (pid: number): Process | undefined => {
  const stat = readOrNothing(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The name in parentheses may hold anything. Parent, utime, stime, cutime, cstime: the fields 4 and 14 to 17 of proc(5).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]);
  return { pid, parent: field(4), ownTicks: field(14) + field(15), reapedTicks: field(16) + field(17) };
};

const readOrNothing = (file: string): string | undefined => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
};
