import { Argument, type Command } from 'commander';
import { systemClock } from '../lib/clock.ts';
import { ConfigError, fatalConfigLine } from '../lib/config/config.ts';
import { processEnv } from '../lib/config/environment.ts';
import { runApi, runEapi, runSapi, runWorker, type Running } from '../services/run.ts';
import { stopOnSignal } from './signals.ts';
import { findTarget, targetOf, usesEmbedded } from './target.ts';
import { validateOnly } from './validate.ts';

const served = ['api', 'eapi', 'sapi', 'worker'] as const;
type Served = (typeof served)[number];

/** `florin serve SERVICE`: one service as a process of its own */
export const register = (program: Command): void => {
  program
    .command('serve')
    .description('run one service in the foreground, for production')
    .addArgument(new Argument('<service>', 'api is eapi and sapi in one process').choices(served))
    .option('--validate-only', 'check the configuration as a start would, and exit 0 or 1')
    .addHelpText(
      'after',
      '\nExamples:\n  florin serve api\n  florin serve eapi --validate-only\n  florin serve worker',
    )
    .action(serve);
};

const serve = async (service: Served, options: { validateOnly?: true }): Promise<void> => {
  if (options.validateOnly) {
    process.exitCode = validateOnly(service, processEnv());
    return;
  }
  try {
    const running = await run(service);
    stopOnSignal(() => running.stop(), { withinMs: running.stopWithinMs });
    // As `systemctl reload` sends it after a certificate was renewed.
    process.on('SIGHUP', () => running.reload());
  } catch (error) {
    // The log's last line, for whoever collects it; `main.ts` lists the faults for whoever started it.
    if (error instanceof ConfigError) process.stdout.write(`${fatalConfigLine(error, systemClock.now())}\n`);
    throw error;
  }
};

const run = async (service: Served): Promise<Running> => {
  const env = processEnv();
  if (service === 'eapi') return runEapi(targetOf('eapi', env, undefined).loaded);
  const { loaded, connections } = usesEmbedded(env)
    ? await findTarget(service, env)
    : targetOf(service, env, undefined);
  return runners[service](loaded, connections.service);
};

const runners = { api: runApi, sapi: runSapi, worker: runWorker };
