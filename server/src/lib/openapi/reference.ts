import Fastify from 'fastify';

/**
 * The script that draws the reference in the browser, from the package and not from a CDN. The package gives it out
 * only through its Fastify plugin, whose own page cannot be served under a strict policy; so a server that never
 * listens is asked for it. It is read in when somebody first wants it: it takes 25 MB of memory.
 */
export const referenceScript = async (): Promise<string> => {
  const { default: reference } = await import('@scalar/fastify-api-reference');
  const app = Fastify();
  await app.register(reference, { routePrefix: '/docs', configuration: { url: '/openapi.json' } });
  const { payload } = await app.inject('/docs/js/scalar.js');
  await app.close();
  return payload;
};

/** Starts the reference with everything off that would speak to anybody but this server. */
export const startScript = `'use strict';
Scalar.createApiReference('#app', ${JSON.stringify(
  {
    url: '/openapi.json',
    withDefaultFonts: false,
    telemetry: false,
    persistAuth: false,
    hideClientButton: true,
    showDeveloperTools: 'never',
    agent: { disabled: true },
    mcp: { disabled: true },
    documentDownloadType: 'json',
    operationTitleSource: 'summary',
    defaultOpenAllTags: false,
    hiddenClients: {
      c: true,
      clojure: true,
      dart: true,
      fsharp: true,
      julia: true,
      kotlin: true,
      objc: true,
      ocaml: true,
      r: true,
      swift: true,
    },
    defaultHttpClient: { targetKey: 'shell', clientKey: 'curl' },
  },
  null,
  2,
)});
`;

/** The page itself. The nonce lets the script add its style sheets, and nothing else may add any. */
export const referencePage = (nonce: string): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta property="csp-nonce" content="${nonce}" nonce="${nonce}">
    <title>Florin API</title>
    <link rel="icon" href="data:,">
  </head>
  <body>
    <div id="app"></div>
    <noscript><p>The reference needs JavaScript. The same as data: <a href="/openapi.json">openapi.json</a>.
      The <a href="/docs/errors">error codes</a> need none.</p></noscript>
    <script src="/docs/reference.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

/** What the page may load and do: its own scripts, the document and the API, and no other server. */
export const referencePolicy = (nonce: string): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    // Its components set style attributes; style sheets still need the nonce.
    "style-src-attr 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
