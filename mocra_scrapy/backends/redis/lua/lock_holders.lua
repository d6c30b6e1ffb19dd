-- uses: coordination lock
-- -> {owner, number, ms left, ...}
local call, text, now, out = redis.call, coordination.text, coordination.now, {}
local live = call('ZRANGEBYSCORE', lock.UNTIL, '(' .. text(now), '+inf', 'WITHSCORES')
for i = 1, #live, 2 do
    local owner, ends = live[i], tonumber(live[i + 1])
    out[#out + 1] = owner
    out[#out + 1] = call('HGET', lock.PERMITS, '@' .. owner)
    out[#out + 1] = text(ends - now)
end
return out
