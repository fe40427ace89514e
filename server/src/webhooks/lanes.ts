import type { Id } from '../lib/ids.ts';
import { queueStart, type Claim, type QueuePlace } from './queue-store.ts';

type EndpointId = Id<'webhook_endpoint'>;

/** What one worker knows of one endpoint: what it has of it, and how its receiver behaves. */
export type Lane = {
  readonly endpointId: EndpointId;
  readonly tenantId: number;
  /** Claimed and not sent yet. */
  waiting: Claim[];
  /** When each delivery that is under way was sent, the oldest first: milliseconds of a clock that only goes on. */
  underway: Map<Claim, number>;
  /** Answered, and not written down yet. */
  unrecorded: number;
  /** Whether there may be more in the queue, and behind which delivery of it. */
  hasMore: boolean;
  after: QueuePlace;
  /** How the last answer was: an endpoint that is new has to prove itself. */
  behaves: 'well' | 'slowly' | 'badly';
  usedAtMs: number;
};

export type Bounds = {
  /** Under way at once, in all and to one endpoint. */
  inFlightMax: number;
  perEndpointMax: number;
};

/** A receiver that takes longer than this, or has taken longer so far, is slow. */
const slowMs = 1_000;

/** How many deliveries may be under way to a receiver that is slow, and to one that does not accept. */
const toSlowMax = 4;
const toBadMax = 2;

/** For every delivery that may be under way so many are claimed ahead, so that a fast receiver never waits for the database. */
const aheadFactor = 4;

/** A claim that would give less than this share of the room is put off until there is more: a statement for each would cost more. */
const worthwhile = 1 / 4;

/** Lanes that nothing was sent on for so long are forgotten. */
const forgetMs = 300_000;

/**
 * Who gets its turn. Every tenant is served in turn, and so are the endpoints of each; a receiver that is slow or accepts nothing
 * gets little at a time, and all such receivers together get half of what may be under way. So however many of them hang, the
 * others find room.
 */
export const createLanes = ({ inFlightMax, perEndpointMax }: Bounds, elapsedMs: () => number) => {
  const lanes = new Map<EndpointId, Lane>();
  /** Those that have claims waiting, by tenant, all in the order of their turns. */
  const ready = new Map<number, Set<Lane>>();
  let inFlight = 0;
  let claimed = 0;

  const makeReady = (lane: Lane): void => {
    const lanesOf = ready.get(lane.tenantId);
    if (lanesOf) lanesOf.add(lane);
    else ready.set(lane.tenantId, new Set([lane]));
  };

  const isWell = (lane: Lane): boolean => {
    const [oldest = Number.POSITIVE_INFINITY] = lane.underway.values();
    return lane.behaves === 'well' && elapsedMs() - oldest <= slowMs;
  };
  const allowed = (lane: Lane): number => {
    if (isWell(lane)) return perEndpointMax;
    return Math.min(perEndpointMax, lane.behaves === 'badly' ? toBadMax : toSlowMax);
  };
  const sizeOf = (lane: Lane): number => lane.waiting.length + lane.underway.size + lane.unrecorded;

  /** How much may be claimed for a lane now; nothing while it is too little to be worth it. */
  const roomOf = (lane: Lane): number => {
    const target = isWell(lane) ? perEndpointMax * aheadFactor : allowed(lane);
    const room = target - sizeOf(lane);
    return sizeOf(lane) === 0 || room >= target * worthwhile ? Math.max(room, 0) : 0;
  };

  return {
    /** The lane of an endpoint, which may have something in the queue. */
    offer: ({ endpointId, tenantId }: { endpointId: EndpointId; tenantId: number }): void => {
      const known = lanes.get(endpointId);
      if (known) known.hasMore = true;
      else
        lanes.set(endpointId, {
          endpointId,
          tenantId,
          waiting: [],
          underway: new Map(),
          unrecorded: 0,
          hasMore: true,
          after: queueStart,
          behaves: 'badly',
          usedAtMs: elapsedMs(),
        });
    },

    /** How much is to be claimed for whom, tenants and endpoints in turn. */
    allot: (): Map<Lane, number> => {
      const room = inFlightMax * aheadFactor - claimed;
      if (room < inFlightMax * worthwhile) return new Map();
      let suspects = [...lanes.values()]
        .filter((lane) => !isWell(lane))
        .reduce((sum, lane) => sum + lane.underway.size + lane.waiting.length, 0);
      const hungry = [...lanes.values()].filter((lane) => lane.hasMore && roomOf(lane) > 0);
      const allotted = inTurn(hungry, room, (lane) => {
        if (isWell(lane)) return roomOf(lane);
        const left = Math.floor(inFlightMax / 2) - suspects;
        const share = Math.max(Math.min(roomOf(lane), left), 0);
        suspects += share;
        return share;
      });
      // Whoever had a turn is behind the others in the next one.
      for (const lane of allotted.keys()) {
        lanes.delete(lane.endpointId);
        lanes.set(lane.endpointId, lane);
      }
      return allotted;
    },

    /** Takes in what was claimed for a lane, of `wanted` that were asked for. */
    take: (lane: Lane, claims: readonly Claim[], wanted: number): void => {
      lane.hasMore = claims.length >= wanted;
      lane.after = lane.hasMore ? lastOf(claims) : queueStart;
      lane.usedAtMs = elapsedMs();
      lane.waiting.push(...claims);
      claimed += claims.length;
      if (lane.waiting.length > 0) makeReady(lane);
    },

    /** The next delivery to send, if there may be one more under way. */
    next: (): { lane: Lane; claim: Claim } | undefined => {
      if (inFlight >= inFlightMax) return undefined;
      for (const [tenantId, ofTenant] of ready) {
        const lane = ofTenant.values().find((each) => each.underway.size < allowed(each));
        const claim = lane?.waiting.shift();
        if (!lane || !claim) continue;
        // Both go behind the others, if there is more of theirs.
        ofTenant.delete(lane);
        ready.delete(tenantId);
        if (ofTenant.size > 0) ready.set(tenantId, ofTenant);
        if (lane.waiting.length > 0) makeReady(lane);
        lane.underway.set(claim, elapsedMs());
        inFlight += 1;
        return { lane, claim };
      }
      return undefined;
    },

    /** A delivery was answered, or not: how its receiver behaves is known now. */
    answered: (lane: Lane, claim: Claim, isAccepted: boolean): void => {
      const tookMs = elapsedMs() - (lane.underway.get(claim) ?? elapsedMs());
      lane.underway.delete(claim);
      inFlight -= 1;
      lane.unrecorded += 1;
      if (!isAccepted) lane.behaves = 'badly';
      else lane.behaves = tookMs > slowMs ? 'slowly' : 'well';
    },

    /** What was answered is written down. */
    recorded: (lane: Lane): void => {
      lane.unrecorded -= 1;
      claimed -= 1;
    },

    /** Takes everything that is not sent off the lanes, or what `isOver` says. */
    drop: (isOver: (claim: Claim) => boolean = () => true): Claim[] => {
      const dropped: Claim[] = [];
      for (const lane of [...ready.values()].flatMap((ofTenant) => [...ofTenant])) {
        const [over, kept] = [lane.waiting.filter(isOver), lane.waiting.filter((claim) => !isOver(claim))];
        if (over.length === 0) continue;
        lane.waiting = kept;
        lane.hasMore = true;
        if (kept.length === 0) ready.get(lane.tenantId)?.delete(lane);
        dropped.push(...over);
      }
      claimed -= dropped.length;
      return dropped;
    },

    /** Begins every queue anew, for what was passed; and forgets endpoints that nothing was sent to for a while. */
    beginAnew: (): void => {
      for (const lane of lanes.values()) lane.after = queueStart;
      for (const [id, lane] of lanes)
        if (sizeOf(lane) === 0 && !lane.hasMore && elapsedMs() - lane.usedAtMs > forgetMs) lanes.delete(id);
    },

    inFlight: (): number => inFlight,
    /** Whether something may be claimed for a lane that has more in the queue. */
    isHungry: (lane: Lane): boolean => lane.hasMore && roomOf(lane) > 0,
  };
};

export type Lanes = ReturnType<typeof createLanes>;

/** The last in the order of the queue. */
const lastOf = (claims: readonly Claim[]): QueuePlace =>
  claims.reduce<QueuePlace>((last, claim) => {
    const later = claim.dueAtMs - last.dueAtMs;
    return later > 0 || (later === 0 && claim.id > last.id) ? claim : last;
  }, queueStart);

/** Shares out room one by one: to tenants in turn, and to the lanes of each in turn, as much as each may have. */
const inTurn = (lanes: readonly Lane[], room: number, shareOf: (lane: Lane) => number): Map<Lane, number> => {
  const allotted = new Map<Lane, number>();
  const tenants = [...Map.groupBy(lanes, ({ tenantId }) => tenantId).values()].map((group) =>
    group.map((lane) => ({ lane, left: shareOf(lane) })),
  );
  for (let left = room; left > 0 && tenants.length > 0;) {
    for (let at = 0; at < tenants.length && left > 0; at += 1) {
      const turn = tenants[at]?.shift();
      if (turn && turn.left > 0) {
        allotted.set(turn.lane, (allotted.get(turn.lane) ?? 0) + 1);
        left -= 1;
        if (turn.left > 1) tenants[at]?.push({ lane: turn.lane, left: turn.left - 1 });
      }
      if (tenants[at]?.length === 0) {
        tenants.splice(at, 1);
        at -= 1;
      }
    }
  }
  return allotted;
};
