-- Who is there. ARGV: announce, worker, ttl ms, packed report | leave, worker | list. list -> {report, ...} of those who live
local ALIVE, REPORTS = P .. 'alive', P .. 'reports'
local verb, worker = ARGV[1], ARGV[2]

if verb == 'list' then
    local live = call('ZRANGEBYSCORE', ALIVE, '(' .. text(now), '+inf')
    local out = {}
    for at = 1, #live, 500 do
        for _, raw in ipairs(call('HMGET', REPORTS, unpack(live, at, math.min(at + 499, #live)))) do out[#out + 1] = raw end
    end
    return out
end

if verb == 'announce' then
    call('ZADD', ALIVE, text(now + tonumber(ARGV[3])), worker)
    call('HSET', REPORTS, worker, ARGV[4])
    for _, gone in ipairs(call('ZRANGEBYSCORE', ALIVE, '-inf', text(now), 'LIMIT', 0, 100)) do
        call('ZREM', ALIVE, gone)
        call('HDEL', REPORTS, gone)
    end
else
    call('ZREM', ALIVE, worker)
    call('HDEL', REPORTS, worker)
end
return 1
