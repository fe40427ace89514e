import type { SettingPath } from './settings.ts';

/**
 * Takes a `postgresql://user:password@host:port/name?sslmode=…&sslrootcert=…&host=…` apart (the connection URI of
 * libpq). Gives the text of each setting that it names and the parameters that Florin does not know, or `undefined`
 * when it is no such URL.
 */
export const parseDatabaseUrl = (
  text: string,
): { parts: Partial<Record<SettingPath, string>>; ignored: string[] } | undefined => {
  // libpq takes `user@/name?host=…`; a URL needs a host there.
  const url = URL.parse(text.trim().replace(/^(\w+:\/\/[^/?#]*@)\//, '$1localhost/'));
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) return undefined;
  const decoded = [url.hostname, url.username, url.password, url.pathname.slice(1)].map(decode);
  const [host, user, password, name] = decoded;
  if (decoded.includes(undefined)) return undefined;
  const parameters = url.searchParams;
  const parts: Partial<Record<SettingPath, string>> = {
    'database.host': parameters.get('host') ?? host?.replace(/^\[(.*)\]$/, '$1') ?? '',
    'database.port': url.port,
    'database.user': user ?? '',
    'database.password': password ?? '',
    'database.name': name ?? '',
    'database.ssl_mode': parameters.get('sslmode') ?? '',
    'database.ssl_root_cert_file': parameters.get('sslrootcert') ?? '',
  };
  const ignored = [...parameters.keys()].filter((name) => !['host', 'sslmode', 'sslrootcert'].includes(name));
  return { parts, ignored };
};

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
};
