import type { PlainSchema } from '../../src/lib/openapi/example.ts';
import { breaches, problemFaults, shown, type Operation, type Received } from '../setup/requests.ts';
import type { Shot } from './fuzz-requests.ts';

/** What no answer may tell: where the code is, what the database said, what it is written with. */
const internals =
  /\n\s+at |\.ts:\d|node_modules|\bnode:|\bpg_|kysely|postgres|SQLSTATE|violates|duplicate key|relation "|syntax error at|ECONN|at JSON|florin_service|payment-system\//i;

/** Judges answers by the contract that the document makes, whatever the request was. */
export const oracle = (operations: readonly Operation[], problem: PlainSchema) => {
  const templates = operations.map((operation) => ({
    operation,
    form: new RegExp(`^${operation.path.replaceAll(/[.]/g, '\\.').replaceAll(/\{\w+\}/g, '[^/?#;]+')}$`),
  }));
  /** Which operation a request is for: an id with a slash in it leads to another one, or to none. */
  const operationAt = ({ method, path }: Shot): Operation | undefined => {
    const [bare = ''] = path.split('?', 1);
    return templates.find(({ operation, form }) => operation.method === method && form.test(bare))?.operation;
  };

  /** Everything that is wrong with an answer. */
  return (shot: Shot, answer: Received): string[] => {
    const operation = operationAt(shot);
    const { status, headers, text } = answer;
    const missing =
      operation === undefined && status < 400 ? ['was accepted at a path that nothing describes'] : [];
    return [
      ...(status >= 500 ? [`is ${shown(answer)}`] : []),
      ...(operation ? breaches(operation, answer) : missing),
      ...(status >= 400 ? problemFaults(problem, answer) : []),
      ...(/^[\w.-]{1,64}$/.test(String(headers['x-request-id'])) ? [] : ['has no X-Request-Id']),
      ...(status >= 400 && internals.test(text) ? [`tells ${String(internals.exec(text)?.[0])}`] : []),
      ...('x-injected' in headers ? ['has a header field that the request made up'] : []),
    ];
  };
};
