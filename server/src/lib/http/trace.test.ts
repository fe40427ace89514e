import { expect, test } from 'vitest';
import { traceOf, traceparentOf } from './trace.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentId = '00f067aa0ba902b7';

test('the trace of the caller goes on, with a span of our own', () => {
  const trace = traceOf(`00-${traceId}-${parentId}-01`);
  expect(trace).toMatchObject({ traceId, parentId, sampled: true });
  expect(trace.spanId).toMatch(/^[0-9a-f]{16}$/);
  expect(trace.spanId).not.toBe(parentId);
  expect(traceparentOf(trace)).toBe(`00-${traceId}-${trace.spanId}-01`);
});

test('a later version with more members is read as far as it is known', () => {
  expect(traceOf(`cc-${traceId}-${parentId}-00-what-comes`)).toMatchObject({ traceId, sampled: false });
});

test.each([
  undefined,
  '',
  'x',
  `00-${traceId}-${parentId}`,
  `00-${traceId}-${parentId}-01-more`,
  `ff-${traceId}-${parentId}-01`,
  `00-${traceId.toUpperCase()}-${parentId}-01`,
  `00-${'0'.repeat(32)}-${parentId}-01`,
  `00-${traceId}-${'0'.repeat(16)}-01`,
])('a missing or malformed header starts a new trace: %s', (header) => {
  const trace = traceOf(header);
  expect(trace.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(trace.traceId).not.toBe(traceId);
  expect(trace.parentId).toBeUndefined();
});

test('ten thousand new traces and spans are all different', () => {
  const traces = Array.from({ length: 10_000 }, () => traceOf(undefined));
  expect(new Set(traces.map((trace) => trace.traceId)).size).toBe(10_000);
  expect(new Set(traces.map((trace) => trace.spanId)).size).toBe(10_000);
});
