-- uses: meta rules items throttle quotas departures permits
-- ARGV[1], packed: a map with rules and own, see rules.take, name -> packed map
local call, asked = redis.call, cmsgpack.unpack(ARGV[1])
local name = asked.name
if not rules.take(asked) then return rules.UNKNOWN end

local limit, at, in_use = throttle.limit_of(name), departures.departure({name}), 0
local change, interval = throttle.change_of(name), limit.usual or limit.interval
local held = tonumber(call('ZSCORE', throttle.HOLD, name) or 0)
for _, n in pairs(permits.holders_of(name)) do in_use = in_use + n end
return cmsgpack.pack({
    interval = interval, burst = limit.burst, concurrency = limit.concurrency, jitter = limit.jitter, floor = limit.floor,
    wait = at == math.huge and -1 or at - meta.now_us, slowed = limit.slowed and interval or 0,
    changed_interval = change.interval, changed_burst = change.burst, changed_concurrency = change.concurrency,
    changed_adapted = change.adapted, changed_least = change.least,
    held = held < math.huge and math.max(0, held - meta.now_us) or 0, changed_ends = change.ends and change.ends - meta.now,
    permits = in_use, quotas = limit.quotas or {}, quota_states = quotas.states(name, limit.quotas),
    pending = throttle.is_scope(name) and 0 or items.length(name),  -- of its own list: those with scopes have others
})
