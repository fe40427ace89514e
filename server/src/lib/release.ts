import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootDirectory } from './config/config.ts';

/** Which Florin this is, as traces and reports name it: `florin@0.1.0`. */
export const release = (): string => {
  const manifest = JSON.parse(readFileSync(join(rootDirectory, 'package.json'), 'utf8')) as {
    version: string;
  };
  return `florin@${manifest.version}`;
};
