import type { FastifyReply } from 'fastify';

/** What a write gave: the status to answer with, and whether it is the stored answer of an earlier request. */
type GivenAnswer = { status: number; replayed: boolean };

/** Sends the reply to a write; a replay says so in `Idempotent-Replayed`. */
export const sendAnswer = (reply: FastifyReply, answer: GivenAnswer, body: unknown): FastifyReply => {
  if (answer.replayed) reply.header('Idempotent-Replayed', 'true');
  return reply.code(answer.status).send(body);
};
