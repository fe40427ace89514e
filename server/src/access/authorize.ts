import { allows, platformTenantId, type Caller, type Role } from '../lib/caller.ts';
import { AppError } from '../lib/errors.ts';

/** What a route says about who may call it; undefined where no route matched. */
export type Access = {
  requires: Role | 'public';
  platformOnly?: boolean;
  withoutVendor?: boolean;
};

/**
 * Refuses a proven caller whom a route is not for. A route of the platform does not exist for vendors.
 * @throws AppError `not_found`, `insufficient_permissions`, `vendor_required`
 */
export const authorize = (caller: Caller, route: Access): void => {
  if (route.requires === 'public') return;
  if (route.platformOnly && caller.kind !== 'platform') {
    throw new AppError('not_found', 'There is nothing at this path.');
  }
  if (!allows(caller.role, route.requires)) {
    throw new AppError('insufficient_permissions', 'Insufficient permissions');
  }
  if (caller.tenantId === platformTenantId && !route.platformOnly && !route.withoutVendor) {
    throw new AppError(
      'vendor_required',
      'Name the vendor to act for in the header Florin-Vendor, by its id or slug.',
    );
  }
};
