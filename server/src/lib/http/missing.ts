import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify';
import { AppError } from '../errors.ts';
import { sendProblem } from './problem.ts';

const methods: readonly HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** Answers what no route matches: 405 with `Allow` where other methods work, 204 to OPTIONS there, 404 elsewhere. */
export const answerMissing = (app: FastifyInstance): void => {
  app.setNotFoundHandler((request, reply) => {
    const allowed = allowedMethods(app, request);
    if (allowed.length === 0)
      return sendProblem(request, reply, new AppError('not_found', 'There is nothing at this path.'));
    reply.header('allow', [...allowed, 'OPTIONS'].join(', '));
    if (request.method === 'OPTIONS') return emptyAnswer(reply);
    return sendProblem(
      request,
      reply,
      new AppError('method_not_allowed', `Use ${allowed.join(' or ')} here.`),
    );
  });
};

const emptyAnswer = (reply: FastifyReply): FastifyReply => reply.code(204).send();

const allowedMethods = (app: FastifyInstance, request: FastifyRequest): HTTPMethods[] => {
  const [path = '/'] = request.url.split('?', 1);
  return methods.filter((method) => app.findRoute({ method, url: path }) !== null);
};
