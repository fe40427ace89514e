import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Server as SecureServer } from 'node:https';
import { createSecureContext } from 'node:tls';
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Metrics } from '../metrics.ts';
import { secureOptionsOf, tlsFiles, type TlsSettings } from './tls.ts';

export type CertificateWatch = {
  /** Takes up the files as they are now, whether they changed or not. */
  reload(): Promise<void>;
  stop(): void;
};

type Options = {
  server: SecureServer;
  tls: TlsSettings;
  log: Logger;
  clock: Clock;
  metrics: Pick<Metrics, 'certificateExpiry' | 'certificateReloads'>;
  /** How often the files are looked at. */
  everyMs?: number;
};

const defaultEveryMs = 2_000;
const dayMs = 86_400_000;

/**
 * Keeps a server's certificate the one in its files: open connections stay as they are, new handshakes get the new one.
 * The files are looked at rather than listened to, since they are replaced in every way there is: written in place,
 * renamed (certbot), or reached through a symbolic link to a folder that is swapped (Kubernetes). What changed has to be
 * still for one look, and to be a pair that is valid now; else the old one stays, which is logged.
 */
export const watchCertificate = (options: Options): CertificateWatch => {
  const { server, tls, log, clock, metrics, everyMs = defaultEveryMs } = options;
  const { certFile, keyFile } = tlsFiles(tls);
  const expiry = tellExpiry(options, certFile);
  let taken: string | undefined;
  let seen: string | undefined;

  const take = async ({ isFirst = false } = {}): Promise<void> => {
    try {
      const { certificate, ...pair } = await readPair(certFile, keyFile, clock.now());
      server.setSecureContext(secureOptionsOf(pair, tls));
      expiry.of(certificate);
      if (isFirst) return;
      metrics.certificateReloads.inc({ result: 'success' });
      log.info(describe(certificate), 'Certificate reloaded');
    } catch (err) {
      metrics.certificateReloads.inc({ result: 'failure' });
      log.error({ err, file: certFile }, 'The certificate could not be reloaded; the old one stays');
    }
  };

  const look = async (): Promise<void> => {
    const found = await markOf(certFile, keyFile);
    // Read at the first look too, since they may have changed after the server read them.
    const isFirst = taken === undefined;
    if (isFirst || (found === seen && found !== taken)) {
      taken = found;
      await take({ isFirst });
    }
    seen = found;
    expiry.check();
  };

  // A look that fails, as when a file is missing for a moment, is followed by another.
  let looking = look().catch(() => undefined);
  let isLooking = false;
  const timer = setInterval(() => {
    if (isLooking) return;
    isLooking = true;
    looking = looking
      .then(look)
      .catch(() => undefined)
      .finally(() => {
        isLooking = false;
      });
  }, everyMs).unref();

  return { reload: () => (looking = looking.then(() => take())), stop: () => clearInterval(timer) };
};

type Pair = { cert: Buffer; key: Buffer; certificate: X509Certificate };

/** @throws Error when the two can't be read, are no pair, or are not valid now */
const readPair = async (certFile: string, keyFile: string, now: Date): Promise<Pair> => {
  const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);
  const certificate = new X509Certificate(cert);
  if (!certificate.checkPrivateKey(createPrivateKey(key)))
    throw new Error('the key does not belong to the certificate');
  if (now < certificate.validFromDate || now > certificate.validToDate)
    throw new Error(`the certificate is valid from ${certificate.validFrom} to ${certificate.validTo}`);
  // What TLS itself refuses, such as a chain that is cut off, is refused here and not at the next handshake.
  createSecureContext({ cert, key });
  return { cert, key, certificate };
};

/** What changes with the files: which they are, when they were written, how long they are. */
const markOf = async (...files: string[]): Promise<string> => {
  const states = await Promise.all(files.map((file) => stat(file, { bigint: true })));
  return states.map(({ dev, ino, mtimeNs, size }) => `${dev}:${ino}:${mtimeNs}:${size}`).join(' ');
};

const describe = (certificate: X509Certificate) => ({
  serial: certificate.serialNumber,
  expires_at: certificate.validToDate.toISOString(),
});

/** Tells when the certificate expires: always as a metric, and once a day in the log when there are few days left. */
const tellExpiry = ({ log, clock, metrics }: Options, file: string) => {
  let certificate: X509Certificate | undefined;
  let toldDay: number | undefined;
  const check = (): void => {
    if (certificate === undefined) return;
    const now = clock.now().getTime();
    const daysLeft = Math.floor((certificate.validToDate.getTime() - now) / dayMs);
    const today = Math.floor(now / dayMs);
    if (daysLeft >= 30 || toldDay === today) return;
    toldDay = today;
    const about = { ...describe(certificate), file, days_left: daysLeft };
    if (daysLeft < 0) log.error(about, 'The certificate has expired: clients refuse it');
    else if (daysLeft < 7) log.warn(about, 'The certificate expires in less than 7 days');
    else log.warn(about, 'The certificate expires in less than 30 days');
  };
  return {
    of: (current: X509Certificate): void => {
      certificate = current;
      toldDay = undefined;
      metrics.certificateExpiry.set({ file }, current.validToDate.getTime() / 1000);
      check();
    },
    check,
  };
};
