import { Option } from 'commander';
import type { Command } from 'commander';
import { errorLines, inspectConfig, rootDirectory } from '../lib/config/config.ts';
import { previewDevelopmentSecrets } from '../lib/config/development.ts';
import { processEnv, services } from '../lib/config/environment.ts';
import type { Env, Service } from '../lib/config/environment.ts';

type Output = { stdout: { write(text: string): unknown }; stderr: { write(text: string): unknown } };

/**
 * Checks the configuration of one service as a start would, without starting: prints every fault as `Error: …`,
 * every warning as `Warning: …`.
 * @returns the exit code, 0 or 1
 */
export const validateOnly = (service: Service, env: Env, { stdout, stderr }: Output = process): number => {
  const overrides = previewDevelopmentSecrets(rootDirectory, env);
  const { config, faults, warnings } = inspectConfig({ service, env, overrides });
  for (const warning of warnings) stderr.write(`Warning: ${warning}\n`);
  for (const line of errorLines(faults)) stderr.write(`${line}\n`);
  if (faults.length > 0) return 1;
  stdout.write(`The configuration of ${service} is valid in ${config.env}.\n`);
  return 0;
};

/** `florin validate` */
export const register = (program: Command): void => {
  program
    .command('validate')
    .description('check the configuration without starting anything; exits 0 or 1')
    .addOption(serviceOption())
    .addHelpText('after', '\nExamples:\n  florin validate\n  ENV=production florin validate --service eapi')
    .action(({ service }: { service: Service }) => {
      process.exitCode = validateOnly(service, processEnv());
    });
};

/** `--service NAME`, for the commands that look at the configuration. */
export const serviceOption = (): Option =>
  new Option('--service <name>', 'whose configuration').choices(services).default('all');
