-- uses: meta rules items throttle departures permits
-- ARGV[1], packed: a map with rules and own, see rules.take, name -> packed map
local call, asked = redis.call, cmsgpack.unpack(ARGV[1])
local name = asked.name
if not rules.take(asked) then return rules.UNKNOWN end

local function pending()  -- of its own list; those with scopes are not known by the slot's name
    local n = 0
    if throttle.is_scope(name) then return n end
    local indexed = call('ZRANGE', meta.prefix .. 'i:' .. name, 0, 99)
    for _, rank in ipairs({0, 1, unpack(indexed)}) do n = n + call('LLEN', items.list_key(tonumber(rank), name)) end
    return n
end

local limit, at, in_use = throttle.limit_of(name), departures.departure({name}), 0
local change, interval = throttle.change_of(name), limit.usual or limit.interval
for _, n in pairs(permits.holders_of(name)) do in_use = in_use + n end
return cmsgpack.pack({
    interval = interval, burst = limit.burst, concurrency = limit.concurrency, jitter = limit.jitter, floor = limit.floor,
    wait = at == math.huge and -1 or at - meta.now_us, slowed = limit.slowed and interval or 0,
    changed_interval = change.interval, changed_burst = change.burst, changed_concurrency = change.concurrency,
    changed_adapted = change.adapted,
    permits = in_use, pending = pending(),
})
