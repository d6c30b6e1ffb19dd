-- uses: coordination
-- Who is there. ARGV: worker, ttl ms, packed report
local call, text, now = redis.call, coordination.text, coordination.now
local ALIVE, REPORTS = coordination.prefix .. 'alive', coordination.prefix .. 'reports'
local worker, ttl, report = ARGV[1], tonumber(ARGV[2]), ARGV[3]
call('ZADD', ALIVE, text(now + ttl), worker)
call('HSET', REPORTS, worker, report)
for _, gone in ipairs(call('ZRANGEBYSCORE', ALIVE, '-inf', text(now), 'LIMIT', 0, 100)) do
    call('ZREM', ALIVE, gone)
    call('HDEL', REPORTS, gone)
end
for _, key in ipairs({ALIVE, REPORTS}) do  -- of the last one nothing stays
    if call('PTTL', key) < ttl then call('PEXPIRE', key, text(ttl)) end
end
return 1
