-- uses: coordination proxies proxy_reports
-- ARGV[1], packed: a map with worker, number, lease: ms, reports: maps, permits: {proxy, number, cap} each, probes:
-- {proxy, site} each, bindings: {key, proxy, instead} each, since, bounds: a map (ms), page, remember: ms, most, most_bound,
-- short: ms
-- -> packed {} where it is stale, else {version, more, records, granted (flat), probes, bound (flat), short, refresh, out,
-- back, down}
local call, now, text, asked = redis.call, coordination.now, coordination.text, cmsgpack.unpack(ARGV[1])
local bounds, worker = asked.bounds, asked.worker
proxies.free_the_dead()
local last = tonumber(call('HGET', proxies.POOL, 'call:' .. worker) or 0)
if asked.number <= last then return cmsgpack.pack({}) end
call('HSET', proxies.POOL, 'call:' .. worker, text(asked.number))
call('ZADD', proxies.ALIVE, text(now + asked.lease), worker)
for _, one in ipairs(asked.reports) do proxy_reports.report(one, bounds) end

local before, after, granted, is_short = proxies.held_by(worker), {}, {}, false
for _, wish in ipairs(asked.permits) do
    local proxy, number, cap = unpack(wish)
    local others = tonumber(call('HGET', proxies.TAKEN, proxy) or 0) - (before[proxy] or 0)
    local has = math.max(0, math.min(number, cap - others))
    is_short = is_short or has < math.min(number, cap)
    if has > 0 then after[proxy] = has end
    granted[#granted + 1], granted[#granted + 2] = proxy, has
end
if next(before) or next(after) then proxies.take(worker, before, after) end
if is_short then call('HSET', proxies.POOL, 'short', text(now + asked.short)) end

local probes = {}
for i, one in ipairs(asked.probes) do
    local record = proxies.read(one[1], one[2])
    probes[i] = 0
    if record and record['until'] > 0 and record['until'] <= now then
        local is_mine = record.prober == '' or record.prober == worker
        if is_mine or record.probed <= now or not proxies.is_alive(record.prober) then
            record.prober, record.probed, probes[i] = worker, now + bounds.probe, 1
            call('HSET', proxies.HEALTH, one[1] .. '\0' .. one[2], cmsgpack.pack(record))
        end
    end
end

local bound = {}
for _, one in ipairs(asked.bindings) do
    local key, proxy, instead = unpack(one)
    local current = tonumber(call('ZSCORE', proxies.ENDS, key) or 0) > now and call('HGET', proxies.BOUND, key)
    if not current or current == instead then
        current = proxy
        call('HSET', proxies.BOUND, key, proxy)
    end
    call('ZADD', proxies.ENDS, text(now + bounds.sticky), key)
    bound[#bound + 1], bound[#bound + 2] = key, current
end
local over = call('ZRANGEBYSCORE', proxies.ENDS, '-inf', text(now), 'LIMIT', 0, 100)
local many = call('ZCARD', proxies.ENDS) - #over - asked.most_bound
if many > 0 then
    for _, key in ipairs(call('ZRANGE', proxies.ENDS, #over, #over + math.min(1000, many) - 1)) do over[#over + 1] = key end
end
for _, key in ipairs(over) do
    call('HDEL', proxies.BOUND, key)
    call('ZREM', proxies.ENDS, key)
end

proxies.save(asked.remember, asked.most)
proxies.keep(asked.remember)
local version, more, records = proxies.since(asked.since, asked.page)
local pool = call('HMGET', proxies.POOL, 'short', 'refresh')
local said = proxies.said
return cmsgpack.pack({
    version, more, records, granted, probes, bound, tonumber(pool[1] or 0) > now and 1 or 0, tonumber(pool[2] or 0),
    said.out, said.back, said.down,
})
