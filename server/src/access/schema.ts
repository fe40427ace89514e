import { Type } from 'typebox';
import { roles } from '../lib/caller.ts';
import { idOf, timeOutput } from '../lib/http/schemas.ts';

const Token = Type.String({
  maxLength: 4096,
  description: 'A signed access token (JWT, RFC 9068). Treat it as opaque.',
  examples: ['eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJ0ZXN0In0.c2ln'],
});

/** The header fields of client credentials; all optional, since a body may carry them. */
export const ClientHeaders = Type.Object({
  'X-Client-ID': Type.Optional(Type.String({ maxLength: 64, examples: ['test_client_id'] })),
  'X-Client-Secret': Type.Optional(Type.String({ maxLength: 1024, examples: ['test_client_secret'] })),
});

/** No body, when the header fields say it all. */
export const AuthenticateBody = Type.Union([
  Type.Object(
    {
      client_id: Type.String({ minLength: 1, maxLength: 64, examples: ['test_client_id'] }),
      client_secret: Type.String({ minLength: 1, maxLength: 1024, examples: ['test_client_secret'] }),
    },
    { additionalProperties: false },
  ),
  Type.Null(),
]);

export const IssuedToken = Type.Object(
  {
    token: Token,
    token_type: Type.Literal('Bearer'),
    expires_in: Type.Integer({
      minimum: 1,
      maximum: 86_400,
      description: 'Seconds that the token lives.',
      examples: [900],
    }),
    expires_at: timeOutput(),
  },
  { additionalProperties: false },
);

export const ValidateTokenBody = Type.Union([
  Type.Object({ token: Token }, { additionalProperties: false }),
  Type.Null(),
]);

const ActiveToken = Type.Object(
  {
    valid: Type.Literal(true),
    active: Type.Literal(true, { description: 'The same, under the name of RFC 7662.' }),
    client_id: Type.String({ maxLength: 64, examples: ['test_client_id'] }),
    vendor: idOf('vendor'),
    mode: Type.Enum(['test', 'live'], { examples: ['test'] }),
    role: Type.Enum([...roles], { description: 'What the client may do now.', examples: ['finance'] }),
    issued_at: timeOutput(),
    expires_at: timeOutput(),
  },
  { additionalProperties: false },
);

/** RFC 7662, 2.2: of any other token nothing is said but this. */
const InactiveToken = Type.Object({ active: Type.Literal(false) }, { additionalProperties: false });

export const CheckedToken = Type.Union([ActiveToken, InactiveToken]);
