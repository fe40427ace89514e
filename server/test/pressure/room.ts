import type { Service } from '../setup/service.ts';

/** What a service occupies of memory, in MB. */
export const residentMb = async (service: Service): Promise<number> =>
  (await service.metric('process_resident_memory_bytes')) / 2 ** 20;

/** How many requests a service refused for lack of room. */
export const refusalsOf = (service: Service): Promise<number> =>
  service.metric('payments_overload_refusals_total\\{reason="requests"\\}');
