import type { FastifyReply } from 'fastify';
import { currentDryRun } from '../dry-run.ts';
import { step } from '../step.ts';

/** What a write gave: the status to answer with, and whether it is the stored answer of an earlier request. */
type GivenAnswer = { status: number; replayed: boolean };

/**
 * Sends the reply to a write; a replay says so in `Idempotent-Replayed`. In a dry run nothing is sent yet: what would be is
 * handed to whoever runs it.
 */
export const sendAnswer = (
  reply: FastifyReply,
  { status, replayed }: GivenAnswer,
  body: unknown,
): FastifyReply | undefined => {
  const dryRun = currentDryRun();
  if (dryRun) {
    dryRun.answer = { status, replayed, body };
    return undefined;
  }
  step('reply.send');
  if (replayed) reply.header('Idempotent-Replayed', 'true');
  return reply.code(status).send(body);
};
