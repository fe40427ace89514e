import { Agent, request } from 'node:http';
import { paymentBody } from './body.ts';

/** A client that keeps its connections open. */
export type Client = {
  get(path: string, token: string): Promise<Answer>;
  /** A payment under a key of its own, which is its reference too. */
  pay(token: string, key: string): Promise<Answer>;
  close(): void;
};

export type Answer = { status: number; text: string };

export const openClient = (url: string, { connections }: { connections: number }): Client => {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });

  const send = (method: string, path: string, headers: Record<string, string>, body = ''): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const sent = request(`${url}/api/v1${path}`, { agent, method, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => (text += part));
        response.once('error', reject);
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      sent.once('error', reject);
      sent.end(body);
    });

  return {
    get: (path, token) => send('GET', path, { authorization: `Bearer ${token}` }),
    pay: (token, key) => {
      const body = paymentBody(key);
      return send(
        'POST',
        '/payments',
        {
          authorization: `Bearer ${token}`,
          'idempotency-key': key,
          'content-type': 'application/json',
          'content-length': String(body.length),
        },
        body,
      );
    },
    close: () => agent.destroy(),
  };
};
