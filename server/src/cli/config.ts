import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { errorLines, inspectConfig, rootDirectory } from '../lib/config/config.ts';
import { previewDevelopmentSecrets } from '../lib/config/development.ts';
import { referencePage } from '../lib/config/document.ts';
import { processEnv } from '../lib/config/environment.ts';
import type { Service } from '../lib/config/environment.ts';
import { effectiveSettings, tableOf } from '../lib/config/print.ts';
import { serviceOption } from './validate.ts';

/** `florin config print` and `florin config docs` */
export const register = (program: Command): void => {
  const config = program.command('config').description('show the configuration and its reference');
  config
    .command('print')
    .description('print the values in effect and where each came from; secrets are hidden')
    .addOption(serviceOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  florin config print\n  ENV=production florin config print --service eapi --json',
    )
    .action(print);
  config
    .command('docs')
    .description('print the reference of all settings, Markdown')
    .option('--write', 'write it to docs/configuration.md')
    .addHelpText('after', '\nExamples:\n  florin config docs | less\n  florin config docs --write')
    .action(docs);
};

const print = ({ service, json }: { service: Service; json?: true }): void => {
  const env = processEnv();
  const overrides = previewDevelopmentSecrets(rootDirectory, env);
  const inspection = inspectConfig({ service, env, overrides });
  const effective = effectiveSettings(inspection);
  process.stdout.write(`${json ? JSON.stringify(effective, undefined, 2) : tableOf(effective)}\n`);
  for (const warning of inspection.warnings) process.stderr.write(`Warning: ${warning}\n`);
  for (const line of errorLines(inspection.faults)) process.stderr.write(`${line}\n`);
  if (inspection.faults.length > 0) process.exitCode = 1;
};

const docs = ({ write }: { write?: true }): void => {
  const page = referencePage(rootDirectory);
  if (write) writeFileSync(join(rootDirectory, 'docs', 'configuration.md'), page);
  else process.stdout.write(page);
};
