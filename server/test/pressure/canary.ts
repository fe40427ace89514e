import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { FloodOptions, FloodResult } from './flood.ts';

const script = join(import.meta.dirname, 'flood.ts');

/** Runs an open-loop load (`flood.ts`) in a process of its own, and gives what it saw. */
export const flood = async (options: FloodOptions): Promise<FloodResult> => {
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  for await (const chunk of child.stdout) output += String(chunk);
  return JSON.parse(output) as FloodResult;
};
