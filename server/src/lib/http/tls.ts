import { readFileSync } from 'node:fs';
import type { SecureContextOptions } from 'node:tls';

export type TlsSettings = {
  enabled: boolean;
  certFile?: string | undefined;
  keyFile?: string | undefined;
  minVersion: '1.2' | '1.3';
};

/**
 * What HTTPS needs, from the configured files: TLS 1.3 alone, or from 1.2 on with forward secrecy and AEAD only.
 * @throws Error when a file is not configured or cannot be read; start-up validation names the setting before
 */
export const secureOptions = (tls: TlsSettings): SecureContextOptions => {
  const { certFile, keyFile } = tlsFiles(tls);
  return secureOptionsOf({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, tls);
};

/** The configured files. @throws Error when one is not configured */
export const tlsFiles = ({ certFile, keyFile }: TlsSettings): { certFile: string; keyFile: string } => {
  if (certFile === undefined || keyFile === undefined)
    throw new Error('TLS needs a certificate and a key file');
  return { certFile, keyFile };
};

/** As `secureOptions`, of a certificate and key that were read already. */
export const secureOptionsOf = (
  { cert, key }: { cert: Buffer; key: Buffer },
  tls: Pick<TlsSettings, 'minVersion'>,
): SecureContextOptions => {
  return {
    cert,
    key,
    minVersion: tls.minVersion === '1.2' ? 'TLSv1.2' : 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers: [
      'TLS_AES_256_GCM_SHA384',
      'TLS_CHACHA20_POLY1305_SHA256',
      'TLS_AES_128_GCM_SHA256',
      'ECDHE-ECDSA-AES256-GCM-SHA384',
      'ECDHE-RSA-AES256-GCM-SHA384',
      'ECDHE-ECDSA-AES128-GCM-SHA256',
      'ECDHE-RSA-AES128-GCM-SHA256',
    ].join(':'),
  };
};
