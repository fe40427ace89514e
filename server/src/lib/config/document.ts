import { environments, fileOf, services } from './environment.ts';
import { textOf } from './print.ts';
import { variableOf } from './setting.ts';
import type { Setting } from './setting.ts';
import type { SettingPath } from './settings.ts';
import { rows } from './variables.ts';
import { readYaml } from './yaml.ts';

const preface = `# Configuration

Made from the table of settings by \`florin config docs --write\`; a test holds the two equal.

Every setting has a path (\`server.tls.enabled\`, as messages and files write it) and a variable
(\`PAYMENTS_SERVER_TLS_ENABLED\`). Values are taken from these sources; a later one wins:

1. the default below
2. \`config/application-{dev,test,staging,prod}.yml\`, chosen by \`ENV\` (or \`NODE_ENV\`): \`dev\` when neither is set.
   A file holds no secret.
3. the variable, one of its other names, or the file that \`<variable>_FILE\` names (Docker, Kubernetes, any secret
   store that mounts files). Two names that say different things are an error that names both.
4. what the command itself sets, such as where the embedded database listens

An empty variable counts as not set. A service reads only its own settings: \`florin validate --service eapi\` asks for
no database. Other names are read only by the services that they were made for. A variable that begins with
\`PAYMENTS_\` and is no setting is a warning that names the nearest setting.

\`florin config print\` shows the values in effect and where each came from, secrets hidden. \`florin validate\` (or
\`./bin/api --validate-only\`) checks them and exits 0 or 1.

## Environment

\`ENV\` or \`NODE_ENV\`: \`dev\` (\`development\`), \`test\`, \`staging\`, \`prod\` (\`production\`).
In \`dev\` and \`test\`, \`florin start\` makes the JWT secret and the master key that are missing, once, in
\`.florin/secrets\`; production refuses such secrets.

## Production

Florin does not start in production, and says every reason at once, when

- \`database.password\`, \`auth.jwt_secret\` or a key derived from it is missing, or \`auth.jwt_secret\` has fewer than 32 characters
- \`server.tls.enabled\` is not true, or its certificate or key is missing, unreadable, expired, or they do not belong together
- \`server.cors.allowed_origins\` has a wildcard
- a secret is an example that was published, or one that Florin ships or makes for development

It warns about weak passwords, a self-signed certificate or one that expires within 30 days, a key file that others may
read, TLS below 1.3, \`database.ssl_mode\` \`require\` or \`disable\`, Redis without TLS or password, a trusted proxy that is
anybody, and a master key that follows from the JWT secret.
`;

/**
 * The reference page of all settings, Markdown.
 * @param directory where `config/application-*.yml` lies
 */
export const referencePage = (directory: string): string => {
  const perEnvironment = environments.map((environment) => ({
    environment,
    given: readYaml(directory, environment).given,
  }));
  const differing = (path: SettingPath): string[] =>
    perEnvironment.flatMap(({ environment, given }) =>
      given.filter((one) => one.path === path).map(({ raw }) => `\`${textOf(raw)}\` in ${environment}`),
    );
  const sections = new Map<string, string[]>();
  for (const [path, row] of rows) {
    const section = path.slice(0, path.indexOf('.'));
    sections.set(section, [...(sections.get(section) ?? []), entryOf(path, row, differing(path))]);
  }
  const body = [...sections].map(([section, entries]) => `## ${section}\n\n${entries.join('\n')}`);
  const files = environments.map((environment) => `\`${fileOf(environment)}\``).join(', ');
  return `${preface}\n${body.join('\n')}\nDefaults per environment are from ${files}.\n`;
};

const entryOf = (path: SettingPath, row: Setting, differing: string[]): string => {
  const fallback = row.default === undefined ? row.computed : `\`${textOf(row.default)}\``;
  const defaults = [...(fallback === undefined ? [] : [fallback]), ...differing].join('; ') || 'not set';
  const unit = row.unit === undefined ? '' : ` (${row.unit})`;
  const names = (row.aliases ?? []).map(({ name, services: of }) => `\`${name}\` (${of.join(', ')})`);
  const readers = services.every((service) => row.services.includes(service))
    ? 'all services'
    : row.services.join(', ');
  const lines = [
    `### \`${path}\``,
    '',
    row.doc,
    '',
    `- Variable: \`${variableOf(path)}\`${row.secret ? ', a secret' : ''}`,
    `- Value: ${row.kind.expects}${unit}`,
    `- Default: ${defaults}`,
    ...(row.requiredBy ? [`- Required by: ${row.requiredBy.join(', ')}`] : []),
    ...(row.requiredInProduction ? ['- Required in production'] : []),
    ...(names.length > 0 ? [`- Other names: ${names.join('; ')}`] : []),
    `- Read by: ${readers}`,
    '',
  ];
  return lines.join('\n');
};
