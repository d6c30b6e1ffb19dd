-- uses: coordination
-- -> {report, ...} of those who live
local call, out = redis.call, {}
local live = call('ZRANGEBYSCORE', coordination.prefix .. 'alive', '(' .. coordination.text(coordination.now), '+inf')
for at = 1, #live, 500 do
    local some = call('HMGET', coordination.prefix .. 'reports', unpack(live, at, math.min(at + 499, #live)))
    for _, report in ipairs(some) do out[#out + 1] = report end
end
return out
