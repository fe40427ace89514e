-- Payments of random vendors for wrk, each with a key and a reference of its own:
--   wrk … --script payments.lua URL -- TOKENS RUN SEED
-- TOKENS is a file with a bearer token a line; RUN, 8 characters, is in every key, so that no two runs share one.
-- The parts of a request that do not change are made once: what is spent here is taken from the service's two cores.

local heads, count, run = {}, 0, ''

function init(args)
  run = args[2]
  math.randomseed(tonumber(args[3]))
  for token in io.lines(args[1]) do
    heads[#heads + 1] = 'POST /api/v1/payments HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n'
      .. 'Content-Length: 74\r\nAuthorization: Bearer ' .. token .. '\r\nIdempotency-Key: ' .. run .. '-'
  end
end

function request()
  count = count + 1
  local number = string.format('%09d', count)
  return heads[math.random(#heads)] .. number .. '\r\n\r\n{"amount":"10.00","currency":"USD","reference":"order '
    .. run .. '-' .. number .. '"}'
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"failures":%d,"p50Ms":%.3f}\n', summary.requests,
    summary.duration / 1e6, errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3))
end
