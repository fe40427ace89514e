import type { Command } from 'commander';
import { rootDirectory } from '../lib/config/config.ts';
import { processEnv } from '../lib/config/environment.ts';
import {
  checkConfiguration,
  checkDatabase,
  checkDisk,
  checkEmbedded,
  checkNode,
  checkNpm,
  checkPackages,
  checkPorts,
  checkTools,
  checkUser,
  type Finding,
} from './checks.ts';
import { textTable } from './table.ts';

/** `florin doctor` */
export const register = (program: Command): void => {
  program
    .command('doctor')
    .description(
      'what is missing on this machine, and the command that mends it; exits 1 when something required is missing',
    )
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  florin doctor\n  florin doctor --json')
    .action(doctor);
};

const doctor = async ({ json }: { json?: true }): Promise<void> => {
  const env = processEnv();
  const findings = [
    checkNode(process.versions.node),
    checkNpm(env),
    checkPackages(rootDirectory),
    checkConfiguration(env),
    checkEmbedded(env),
    checkUser(env),
    await checkDatabase(env),
    ...(await checkPorts(env)),
    await checkDisk(rootDirectory),
    ...checkTools(env),
  ];
  process.stdout.write(json ? `${JSON.stringify(findings, undefined, 2)}\n` : report(findings));
  if (findings.some(({ state }) => state === 'missing')) process.exitCode = 1;
};

const signs = { ok: 'ok', missing: 'MISSING', optional: 'optional' } as const;

const report = (findings: readonly Finding[]): string => {
  const rows = findings.map(({ name, state, detail }) => [signs[state], name, detail]);
  const remedies = findings.flatMap(({ name, state, remedy }) =>
    state === 'ok' || remedy === undefined ? [] : [[signs[state], name, remedy]],
  );
  const mend = remedies.length === 0 ? '' : `\n${textTable(['', 'to mend', 'run'], remedies)}\n`;
  return `${textTable(['', 'what', 'found'], rows)}\n${mend}`;
};
