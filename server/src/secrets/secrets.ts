import type { Clock } from '../lib/clock.ts';
import { keyFrom } from '../lib/crypto.ts';
import type { Secret } from '../lib/secret.ts';
import { environmentSecrets } from './environment.ts';
import { fileSecrets } from './files.ts';
import type { SecretSource } from './source.ts';

/** The part of the configuration that says where secrets are: `Config` fits it. */
export type SecretsConfig = {
  secrets: {
    /**
     * `file`: one encrypted file that Florin writes. `environment`: variables and mounted files, read only.
     */
    source: 'file' | 'environment';
    /** The encrypted file; needed by the source `file`. */
    file?: string | undefined;
    /** Where secrets are mounted as files; for the source `environment`. */
    directory?: string | undefined;
  };
  /** What the file is encrypted with: base64 of 32 bytes each. */
  encryption: { masterKey: Secret; previousMasterKey?: Secret | undefined };
};

/**
 * Opens the configured source of secrets.
 * @throws Error when a setting that the source needs is missing or not a key
 */
export const openSecrets = (
  { secrets, encryption }: SecretsConfig,
  { env, clock }: { env: Readonly<Record<string, string | undefined>>; clock: Clock },
): SecretSource => {
  if (secrets.source === 'environment') return environmentSecrets({ env, directory: secrets.directory });
  if (secrets.file === undefined) throw new Error('secrets.file has to name the encrypted file of secrets.');
  const previous = encryption.previousMasterKey && keyFrom(encryption.previousMasterKey);
  return fileSecrets({
    file: secrets.file,
    master: { current: keyFrom(encryption.masterKey), previous },
    clock,
  });
};
