import type { Bug } from './bug.ts';

const dispatchTests = ['server/src/webhooks/dispatch.test.ts'];
const signedTests = ['server/src/webhooks/signed.test.ts'];
const fanOutTests = ['server/src/webhooks/fan-out.test.ts'];
const failingTests = ['server/src/webhooks/failing.test.ts'];
const outcomeTests = ['server/src/webhooks/outcome.test.ts'];
const eventTests = ['server/src/events/events.test.ts'];
const callbackTests = ['server/src/services/callbacks.test.ts'];
const addressTests = ['server/src/lib/outbound/addresses.test.ts'];
const ruleTests = ['server/src/lib/outbound/rules.test.ts'];

/** Telling vendors what happened: each of theirs, nothing of others, until they have it; and calling nobody else. */
export const webhookBugs: readonly Bug[] = [
  {
    name: 'acknowledged-before-sent',
    breaks: 'A delivery counts as delivered before its receiver has answered, and whatever it answers.',
    file: 'server/src/webhooks/dispatch.ts',
    find: 'return await deliver({ ...parts, ...settings }, claim, endpoint, body);',
    replace:
      `void deliver({ ...parts, ...settings }, claim, endpoint, body); ` +
      `return { ...notSent(claim, '', clock.now()), state: 'delivered', isSent: true };`,
    caughtBy: dispatchTests,
    filter: 'answered with 500 is tried again',
  },
  {
    name: 'retry-unsigned',
    breaks: 'Only the first attempt is signed: whoever verifies never accepts a retry.',
    file: 'server/src/webhooks/deliver.ts',
    find: '{ ...fixedHeaders, ...signed }',
    replace: `{ ...fixedHeaders, ...(claim.attempts > 1 ? { 'webhook-id': body.event.id } : signed) }`,
    caughtBy: signedTests,
    filter: 'every attempt, a retry too',
  },
  {
    name: 'secret-of-another-endpoint',
    breaks: 'What endpoints are sent together is signed with the secret of one of them.',
    file: 'server/src/webhooks/secrets.ts',
    find: '(secrets.get(endpoint.id) ?? [])',
    replace: '(secrets.values().next().value ?? [])',
    caughtBy: signedTests,
    filter: 'every attempt, a retry too',
  },
  {
    name: 'attempt-with-id-of-its-own',
    breaks: 'A receiver can not tell a message that it has from a new one.',
    file: 'server/src/webhooks/deliver.ts',
    find: '{ id: body.event.id, at, body: bytes }',
    replace: '{ id: `${body.event.id}.${claim.number}`, at, body: bytes }',
    caughtBy: dispatchTests,
    filter: 'answered with 500 is tried again',
  },
  {
    name: 'thin-event-full',
    breaks: 'An endpoint that asked for thin events is sent the data.',
    file: 'server/src/events/events.ts',
    find: `...(payload === 'full' && { data: event.data }),`,
    replace: '...(payload.length > 0 && { data: event.data }),',
    caughtBy: eventTests,
    filter: 'a thin envelope has no data',
  },
  {
    name: 'body-of-another-endpoint',
    breaks: 'An endpoint that asked for thin events is sent the data when another one was sent it before.',
    file: 'server/src/webhooks/bodies.ts',
    find: 'const bytes = made.get(payload) ??',
    replace: `const bytes = made.get('full') ?? made.get('thin') ??`,
    caughtBy: signedTests,
    filter: 'of one event a thin endpoint',
  },
  {
    name: 'events-of-another-vendor',
    breaks: 'A vendor is told what happens to others.',
    file: 'server/functions/webhooks/next_events.sql',
    find: 'join webhooks.endpoints w on w.tenant_id = e.tenant_id',
    replace: 'join webhooks.endpoints w on true',
    caughtBy: fanOutTests,
    filter: 'becomes one delivery for each endpoint',
  },
  {
    name: 'lost-while-disabled',
    breaks: 'What waited for an endpoint that was disabled and enabled again is never sent.',
    file: 'server/functions/webhooks/claim.sql',
    find: `and q.state = 'pending' and not q.waiting`,
    replace: `and q.state = 'pending' and q.position >= w.from_position and not q.waiting`,
    caughtBy: failingTests,
    filter: 'that is disabled loses nothing',
  },
  {
    name: 'order-broken',
    breaks: 'An ordered endpoint is told the end of a payment before its beginning.',
    file: 'server/functions/webhooks/enqueue.sql',
    find: 'in_order[i] = 1 and (g.place > 1 or before.id is not null)',
    replace: 'in_order[i] = 1 and before.id is not null',
    caughtBy: fanOutTests,
    filter: 'the later events of an object wait',
  },
  {
    name: 'delivery-lease-ignored',
    breaks: 'Two workers send the same delivery at once.',
    file: 'server/functions/webhooks/claim.sql',
    find: 'and (q.leased_until is null or q.leased_until <= at)',
    replace: '',
    caughtBy: dispatchTests,
    filter: 'take over what a killed one had claimed',
  },
  {
    name: 'gone-receiver-called',
    breaks: 'A receiver that says that it is gone (410) is called for another three days.',
    file: 'server/src/webhooks/outcome.ts',
    find: `if (status === 410) return { ...common, state: 'failed', error, isGone: true };`,
    replace: '',
    caughtBy: outcomeTests,
  },
  {
    name: 'retried-past-the-last',
    breaks: 'A delivery is tried once more often than the setting says.',
    file: 'server/src/webhooks/outcome.ts',
    find: 'if (attempts > retryMax)',
    replace: 'if (attempts > retryMax + 1)',
    caughtBy: outcomeTests,
  },
  {
    name: 'events-listed-by-id',
    breaks: 'Whoever follows the events never sees one that was committed late.',
    file: 'server/src/events/store.ts',
    find: 'order by e.position ${sql.raw(range.order)} limit ${limit}',
    replace: 'order by e.id ${sql.raw(range.order)} limit ${limit}',
    caughtBy: eventTests,
    filter: 'what is committed late comes late',
  },
  {
    name: 'second-charge-unnoticed',
    breaks: 'A backend that tells of a second charge for the same payment raises no mismatch.',
    file: 'server/src/payments/mismatch.ts',
    find: `known !== named ? 'reference' : undefined`,
    replace: 'known !== named ? undefined : undefined',
    caughtBy: callbackTests,
    filter: 'that contradict the books',
  },
  {
    name: 'backend-speaks-for-another',
    breaks: 'A backend settles the payments of another one.',
    file: 'server/src/payments/callbacks.ts',
    find: 'if (operation?.connector !== connector)',
    replace: 'if (!operation)',
    caughtBy: callbackTests,
    filter: 'of an operation that nobody began',
  },
  {
    name: 'redirect-followed',
    breaks: 'A receiver sends us on to an address that nobody checked for it.',
    file: 'server/src/lib/outbound/outbound.ts',
    find: 'return await call(request, { rules, names, connections });',
    replace:
      `const answer = await call(request, { rules, names, connections }); ` +
      `const next = answer.status >= 300 && answer.status < 400 ? answer.headers['location'] : undefined; ` +
      `return next === undefined ? answer : await call({ ...request, url: next }, { rules, names, connections });`,
    caughtBy: ['server/src/lib/outbound/outbound.test.ts', 'server/test/hostile/ssrf.test.ts'],
    filter: 'redirect',
  },
  {
    name: 'private-address-called',
    breaks: 'A webhook reaches whatever listens in our own network.',
    file: 'server/src/lib/outbound/addresses.ts',
    find: `return address.range() === 'unicast' && !`,
    replace: `return address.range() !== 'loopback' && !`,
    caughtBy: addressTests,
  },
  {
    name: 'translated-address-called',
    breaks: 'An address of our own network is called when it is written as NAT64 has it.',
    file: 'server/src/lib/outbound/addresses.ts',
    find: 'if (address.match(nat64)) return isPublic(new ipaddr.IPv4(address.toByteArray().slice(12)));',
    replace: 'if (address.match(nat64)) return true;',
    caughtBy: addressTests,
  },
  {
    name: 'one-public-address-suffices',
    breaks: 'A name with a private address beside a public one is called.',
    file: 'server/src/lib/outbound/rules.ts',
    find: 'permitted.length < addresses.length',
    replace: 'permitted.length < 0',
    caughtBy: ruleTests,
  },
  {
    name: 'loopback-called',
    breaks: 'In production a webhook reaches what listens on this machine.',
    file: 'server/src/lib/outbound/rules.ts',
    find: '(allowLoopback && isLoopback(address))',
    replace: 'isLoopback(address)',
    caughtBy: ruleTests,
  },
  {
    name: 'checked-address-not-called',
    breaks:
      'A name is resolved again for the connection: it may be another address than the one that was checked.',
    file: 'server/src/lib/outbound/dial.ts',
    find: `const direct = async ({ addresses, port }: Target, signal: AbortSignal): Promise<Socket> => {
  const socket = connect({
    // A name that nobody resolves: \`lookup\` knows the answer.
    host: 'checked',
    port,
    lookup: answering(addresses),`,
    replace: `const direct = async ({ host, port }: Target, signal: AbortSignal): Promise<Socket> => {
  const socket = connect({
    host,
    port,`,
    caughtBy: ['server/test/hostile/ssrf.test.ts'],
    filter: 'what is checked is what is called',
  },
  {
    name: 'certificate-unchecked',
    breaks: 'Whoever sits between us and a receiver reads and changes what it is sent.',
    file: 'server/src/lib/outbound/dial.ts',
    find: 'rejectUnauthorized: true',
    replace: 'rejectUnauthorized: false',
    caughtBy: ['server/src/lib/outbound/dial.test.ts'],
    filter: 'TLS',
  },
  {
    name: 'address-kept-for-ever',
    breaks: 'A receiver that moves is called where it was.',
    file: 'server/src/lib/outbound/names.ts',
    find: '< ageMaxMs',
    replace: '< 1e9',
    caughtBy: ['server/src/lib/outbound/names.test.ts'],
    filter: 'asked for once in five seconds',
  },
];
