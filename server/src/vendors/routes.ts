import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Clock } from '../lib/clock.ts';
import { sendAnswer } from '../lib/http/answer.ts';
import { decodeCursor, listQuery, pageOf } from '../lib/http/page.ts';
import { contextOf, idempotencyKeyOf } from '../lib/http/route.ts';
import { idOf, idParams, listOf, writeHeaders } from '../lib/http/schemas.ts';
import { toUuid } from '../lib/ids.ts';
import { CreatedVendor, CreateVendorBody, UpdateVendorBody, Vendor } from './schema.ts';
import { listVendors } from './store.ts';
import {
  createVendor,
  disableVendor,
  enableVendor,
  getVendor,
  updateVendor,
  vendorJson,
  type VendorDeps,
} from './vendors.ts';

const tags = ['Vendors'];
const Cursor = Type.Tuple([idOf('vendor')]);
const keyErrors = ['idempotency_key_reused', 'request_in_flight'] as const;

/** Who is paid: `/vendors`, for the platform only. To vendors these paths do not exist. */
export const vendorRoutes =
  (deps: VendorDeps & { clock: Clock; announceRevocation(): void }): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, clock } = deps;

    app.post(
      '/vendors',
      {
        config: {
          requires: 'admin',
          dryRun: 'preview',
          platformOnly: true,
          errors: ['already_exists', ...keyErrors],
        },
        schema: {
          operationId: 'createVendor',
          tags,
          summary: 'Create a vendor',
          description:
            'Makes the vendor, its tenants for test and live, and a first client in the mode of your own credential. Its ' +
            'secret goes into the vault and is shown in this answer only. A retry with the same Idempotency-Key shows it again.',
          headers: writeHeaders,
          body: CreateVendorBody,
          response: { 201: CreatedVendor },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const { mode } = request.caller;
        const { clientSecret, ...answer } = await createVendor(deps, write, { ...request.body, mode });
        reply.header('cache-control', 'no-store');
        return sendAnswer(reply, answer, { ...snapshotOf(answer), client_secret: clientSecret.reveal() });
      },
    );

    app.get(
      '/vendors',
      {
        config: { requires: 'admin', platformOnly: true },
        schema: {
          operationId: 'listVendors',
          tags,
          summary: 'List vendors, the newest first',
          querystring: listQuery({}),
          response: { 200: listOf(Vendor) },
        },
      },
      async (request) => {
        const { limit, cursor } = request.query;
        const [before] = decodeCursor(cursor, Cursor) ?? [];
        const rows = await listVendors(db, { limit: limit + 1, before: before && toUuid(before) });
        return pageOf(rows, { limit, positionOf: (row) => [vendorJson(row).id], render: vendorJson });
      },
    );

    app.get(
      '/vendors/:id',
      {
        config: { requires: 'admin', platformOnly: true },
        schema: {
          operationId: 'getVendor',
          tags,
          summary: 'Get a vendor',
          params: idParams('vendor'),
          response: { 200: Vendor },
        },
      },
      async (request) => getVendor(db, request.params.id),
    );

    app.patch(
      '/vendors/:id',
      {
        config: { requires: 'admin', dryRun: 'preview', platformOnly: true, errors: keyErrors },
        schema: {
          operationId: 'updateVendor',
          tags,
          summary: 'Change a vendor',
          description:
            'Changes the members that are sent. Fees count for payments from then on; `fee_fixed` is replaced as a whole.',
          headers: writeHeaders,
          params: idParams('vendor'),
          body: UpdateVendorBody,
          response: { 200: Vendor },
        },
      },
      async (request, reply) => {
        const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
        const answer = await updateVendor(db, write, request.params.id, request.body);
        return sendAnswer(reply, answer, snapshotOf(answer));
      },
    );

    const switches = [
      {
        verb: 'disable',
        act: disableVendor,
        says: 'Refuses all its credentials, everywhere within about a second.',
      },
      { verb: 'enable', act: enableVendor, says: 'Lets its credentials in again.' },
    ] as const;
    for (const { verb, act, says } of switches) {
      app.post(
        `/vendors/:id/${verb}`,
        {
          config: { requires: 'admin', dryRun: 'preview', platformOnly: true, errors: keyErrors },
          schema: {
            operationId: `${verb}Vendor`,
            tags,
            summary: `${verb === 'disable' ? 'Disable' : 'Enable'} a vendor`,
            description: says,
            headers: writeHeaders,
            params: idParams('vendor'),
            response: { 200: Vendor },
          },
        },
        async (request, reply) => {
          const write = { context: contextOf(request, clock), key: idempotencyKeyOf(request) };
          const answer = await act(db, write, request.params.id);
          deps.announceRevocation();
          return sendAnswer(reply, answer, snapshotOf(answer));
        },
      );
    }
  };

/** The body of an answer is the snapshot of its journal entry, which `vendorJson` made. */
const snapshotOf = ({ entry }: { entry: { snapshot: unknown } }) =>
  entry.snapshot as ReturnType<typeof vendorJson>;
