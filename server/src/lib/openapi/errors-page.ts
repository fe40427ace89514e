import { createHash } from 'node:crypto';
import { errorKinds, type ErrorCode } from '../errors.ts';
import { remedies } from './remedies.ts';
import { problemExample } from './errors.ts';

const style = `
:root { color-scheme: light dark; --text: #1c1c28; --soft: #5b5b6e; --line: #d9d9e3; --code: #f3f3f8; --back: #fff; --accent: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --text: #ececf4; --soft: #a9a9bd; --line: #383848; --code: #22222e; --back: #15151d; --accent: #7db4f0; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .75rem; }
p { margin: .4rem 0; }
a { color: var(--accent); }
.lead, .status { color: var(--soft); }
article { padding: 1.1rem 0; border-top: 1px solid var(--line); scroll-margin-top: 1rem; }
article:target { border-top: 3px solid var(--accent); }
h2 { font-size: 1.05rem; margin: 0; display: flex; flex-wrap: wrap; gap: .25rem .8rem; align-items: baseline; }
h2 a { color: inherit; text-decoration: none; }
h2 a:hover { text-decoration: underline; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, monospace; font-size: .9em; }
code { background: var(--code); border-radius: 4px; padding: .1em .35em; }
pre { background: var(--code); border-radius: 8px; padding: 1rem; overflow-x: auto; }
.status { font-weight: 400; font-variant-numeric: tabular-nums; }
`;

/** Only this very style sheet applies; the page loads nothing. */
export const errorsPolicy = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** The page that every error's `type` points at: each code, its status, what it means and what to do about it. */
export const errorsPage = (): string => {
  // The table has these codes and no others.
  const codes = (Object.keys(errorKinds) as ErrorCode[]).toSorted(
    (a, b) => errorKinds[a].status - errorKinds[b].status || a.localeCompare(b),
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Errors – Florin API</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>Errors</h1>
<p class="lead">Every refusal is <code>application/problem+json</code> as RFC 9457 describes it. Programs read
<code>code</code>, which never changes its meaning; people read <code>detail</code>; <code>errors</code> names every
faulty field. Quote <code>request_id</code> when you ask for help. <a href="/docs">All operations</a></p>
<pre>${escaped(JSON.stringify(problemExample('invalid_request'), null, 2))}</pre>
${codes.map(articleOf).join('\n')}
</main>
</body>
</html>
`;
};

const articleOf = (code: ErrorCode): string => {
  const { status, title } = errorKinds[code];
  return `<article id="${code}">
<h2><a href="#${code}"><code>${code}</code></a> <span class="status">${status}</span></h2>
<p>${escaped(title)}.</p>
<p>${withCode(escaped(remedies[code]))}</p>
</article>`;
};

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const withCode = (text: string): string => text.replaceAll(/`([^`]+)`/g, '<code>$1</code>');
