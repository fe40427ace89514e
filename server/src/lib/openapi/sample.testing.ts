import { Type } from 'typebox';
import { absentBodyIsEmpty } from '../http/body.ts';
import { listQuery } from '../http/page.ts';
import {
  amountInput,
  amountMinorOutput,
  amountOutput,
  currencyCode,
  freeText,
  idOf,
  idParams,
  listOf,
  metadata,
  timeOutput,
} from '../http/schemas.ts';
import type { App } from '../http/server.ts';
import { describeApi } from './describe.ts';

const thing = Type.Object(
  {
    id: idOf('payment'),
    amount: amountOutput(),
    amount_minor: amountMinorOutput(),
    currency: currencyCode(),
    created_at: timeOutput(),
    metadata: metadata(),
  },
  { description: 'A payment.' },
);

const thingBody = Type.Object(
  { amount: amountInput(), currency: currencyCode(), description: Type.Optional(freeText(500)) },
  { additionalProperties: false, examples: [{ amount: '10.50', currency: 'EUR' }] },
);

// The sample is only read about, never called.
const described = (): never => {
  throw new Error('the sample answers nothing');
};

/** A small API with one route of every kind, described as the real one is. */
export const sampleApi = async (app: App): Promise<void> => {
  const tags = ['Payments'];
  await describeApi(app, {
    serverUrl: 'https://api.example.com',
    environment: 'production',
    version: '0.1.0',
    tags: [
      { name: 'Payments', description: 'Take money.' },
      { name: 'Health', description: 'Whether it works.' },
    ],
  });
  app.post(
    '/api/v1/payments',
    {
      config: { requires: 'developer', dryRun: 'preview', errors: ['insufficient_funds'] },
      schema: {
        operationId: 'createPayment',
        tags,
        summary: 'Take a payment',
        body: thingBody,
        response: { 201: thing },
      },
    },
    described,
  );
  app.get(
    '/api/v1/payments',
    {
      config: { requires: 'viewer' },
      schema: {
        operationId: 'listPayments',
        tags,
        summary: 'List payments',
        querystring: listQuery({ status: Type.Optional(Type.Enum(['succeeded', 'failed'])) }),
        response: { 200: listOf(thing) },
      },
    },
    described,
  );
  app.get(
    '/api/v1/payments/:id',
    {
      config: { requires: 'admin', platformOnly: true },
      schema: {
        operationId: 'getPayment',
        tags,
        summary: 'Read a payment',
        params: idParams('payment'),
        response: { 200: thing },
      },
    },
    described,
  );
  app.delete(
    '/api/v1/payments/:id',
    {
      config: { requires: 'admin', dryRun: 'preview' },
      schema: {
        operationId: 'deletePayment',
        tags,
        summary: 'Delete a payment',
        params: idParams('payment'),
        response: { 200: thing },
      },
    },
    described,
  );
  app.post(
    '/api/v1/payments/:id/capture',
    {
      config: { requires: 'developer', dryRun: 'preview' },
      preValidation: absentBodyIsEmpty,
      schema: {
        operationId: 'capturePayment',
        tags,
        summary: 'Capture a payment',
        params: idParams('payment'),
        body: Type.Partial(thingBody, { additionalProperties: false }),
        response: { 200: thing },
      },
    },
    described,
  );
  app.post(
    '/api/v1/tokens',
    {
      config: { requires: 'developer', dryRun: 'ignored' },
      schema: {
        operationId: 'createToken',
        tags,
        summary: 'Get a token',
        body: Type.Union([thingBody, Type.Null()]),
        response: { 200: thing },
      },
    },
    described,
  );
};
