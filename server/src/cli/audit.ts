import type { Command } from 'commander';
import { registerVerify } from './verify.ts';

/** `florin audit verify` */
export const register = (program: Command): void => {
  const audit = program.command('audit').description('check that nothing recorded was changed');
  registerVerify(audit, 'audit');
};
