-- Takes one request from each of some limits, or from none: the generic cell rate algorithm, as bh-domain's
-- `RateLimit::decide` has it, in one step and on this server's clock.
--
-- KEYS: the counts. ARGV: for each, its period, what one request adds to it, and what the asker has let in by itself, for a
-- server that has lost its counts or was not asked for a while, all in nanoseconds; then, for tests, an instant in place of the clock: seconds,
-- nanoseconds.
-- A count is the instant when its allowance is whole again, as "seconds.nanoseconds", and ends by itself at that instant.
-- Numbers here are exact up to 2^53, so instants are kept in two parts. What lies between them is at most a day.
-- Returns, for each, the nanoseconds until its allowance was whole again, before this request.
local NANOS = 1000000000
local seconds, nanos = tonumber(ARGV[3 * #KEYS + 1]), tonumber(ARGV[3 * #KEYS + 2])
if not seconds then
  local time = redis.call('TIME')
  seconds, nanos = tonumber(time[1]), tonumber(time[2]) * 1000
end

local backlogs, allowed = {}, true
for index, key in ipairs(KEYS) do
  local period, increment = tonumber(ARGV[3 * index - 2]), tonumber(ARGV[3 * index - 1])
  local whole_s, whole_ns = string.match(redis.call('GET', key) or '', '^(%d+)%.(%d+)$')
  local backlog = tonumber(ARGV[3 * index])
  if whole_s then
    backlog = math.max(backlog, (tonumber(whole_s) - seconds) * NANOS + tonumber(whole_ns) - nanos)
  end
  backlogs[index] = backlog
  allowed = allowed and backlog + increment <= period
end

if allowed then
  for index, key in ipairs(KEYS) do
    local backlog = backlogs[index] + tonumber(ARGV[3 * index - 1])
    local whole = nanos + backlog
    local ahead = math.floor(whole / NANOS)
    local value = string.format('%.0f.%.0f', seconds + ahead, whole - ahead * NANOS)
    redis.call('SET', key, value, 'PX', string.format('%.0f', math.ceil(backlog / 1000000)))
  end
end
return backlogs
