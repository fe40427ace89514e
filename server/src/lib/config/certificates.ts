import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Config } from './config.ts';
import { describeReadError } from './variables.ts';

/** Where a check puts what it finds. */
export type Report = { fault(message: string): void; warn(message: string): void };

const dayMs = 86_400_000;

/** Checks the certificate and the key that the public port would use. */
export const checkCertificate = (tls: Config['server']['tls'], now: Date, report: Report): void => {
  const certificate = readCertificate(tls, report);
  const key = readKey(tls, report);
  if (certificate !== undefined) checkValidity(certificate, now, report);
  if (certificate !== undefined && key !== undefined && !certificate.checkPrivateKey(key)) {
    report.fault('server.tls.key_file does not belong to server.tls.cert_file');
  }
};

const readCertificate = (
  { enabled, certFile }: Config['server']['tls'],
  report: Report,
): X509Certificate | undefined => {
  const pem = readFile('server.tls.cert_file', enabled, certFile, report);
  if (pem === undefined) return undefined;
  try {
    return new X509Certificate(pem);
  } catch {
    report.fault(`server.tls.cert_file is not a PEM certificate: ${certFile}`);
    return undefined;
  }
};

const readKey = ({ enabled, keyFile }: Config['server']['tls'], report: Report): KeyObject | undefined => {
  const pem = readFile('server.tls.key_file', enabled, keyFile, report);
  if (pem === undefined || keyFile === undefined) return undefined;
  if ((statSync(keyFile).mode & 0o007) !== 0) {
    report.warn(`server.tls.key_file may be read by everyone on this machine: chmod 600 ${keyFile}`);
  }
  try {
    return createPrivateKey(pem);
  } catch {
    report.fault(`server.tls.key_file is not a PEM private key without a passphrase: ${keyFile}`);
    return undefined;
  }
};

const readFile = (
  path: string,
  isEnabled: boolean,
  file: string | undefined,
  report: Report,
): Buffer | undefined => {
  if (file === undefined) {
    if (isEnabled) report.fault(`${path} required when server.tls.enabled is true`);
    return undefined;
  }
  try {
    return readFileSync(file);
  } catch (error) {
    report.fault(describeReadError(path, file, error));
    return undefined;
  }
};

const checkValidity = (certificate: X509Certificate, now: Date, report: Report): void => {
  const from = new Date(certificate.validFrom);
  const to = new Date(certificate.validTo);
  const daysLeft = Math.floor((to.getTime() - now.getTime()) / dayMs);
  if (now < from) report.fault(`server.tls.cert_file is not valid before ${from.toISOString()}`);
  else if (now > to) report.fault(`server.tls.cert_file expired on ${to.toISOString()}`);
  else if (daysLeft < 30)
    report.warn(`server.tls.cert_file expires in ${daysLeft} days, on ${to.toISOString()}`);
  if (certificate.issuer === certificate.subject && certificate.verify(certificate.publicKey)) {
    report.warn('server.tls.cert_file is self-signed: no client outside will trust it');
  }
};
