-- A lock or semaphore. ARGV: verb, owner, number, ttl ms, limit, channel, message.
-- acquire -> {number, ms left} or {}; renew, release -> 1 or 0; holders -> {owner, number, ms left, ...}
local PERMITS, UNTIL = P .. 'permits', P .. 'until'
local verb, owner, number, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

if verb == 'holders' then
    local out, live = {}, call('ZRANGEBYSCORE', UNTIL, '(' .. text(now), '+inf', 'WITHSCORES')
    for i = 1, #live, 2 do
        out[#out + 1] = live[i]
        out[#out + 1] = call('HGET', PERMITS, '@' .. live[i])
        out[#out + 1] = text(tonumber(live[i + 1]) - now)
    end
    return out
end

for _, gone in ipairs(call('ZRANGEBYSCORE', UNTIL, '-inf', text(now), 'LIMIT', 0, 100)) do
    call('ZREM', UNTIL, gone)
    call('HDEL', PERMITS, '@' .. gone)
end

local function hold()
    call('ZADD', UNTIL, text(now + ttl), owner)
    for _, key in ipairs({PERMITS, UNTIL}) do
        if call('PTTL', key) < ttl + AFTERGLOW then call('PEXPIRE', key, text(ttl + AFTERGLOW)) end
    end
end

local ends = tonumber(call('ZSCORE', UNTIL, owner) or 0)
local mine = ends > now and call('HGET', PERMITS, '@' .. owner)

if verb == 'acquire' then
    if not mine then
        if call('ZCOUNT', UNTIL, '(' .. text(now), '+inf') >= tonumber(ARGV[5]) then
            call('HSET', PERMITS, 'w', 1)
            return {}
        end
        mine = text(greater(call('HGET', PERMITS, '#')))
        call('HSET', PERMITS, '#', mine, '@' .. owner, mine)
    end
    hold()
    return {mine, text(ttl)}
end

if mine ~= number then return 0 end
if verb == 'renew' then
    hold()
else
    call('ZREM', UNTIL, owner)
    call('HDEL', PERMITS, '@' .. owner)
    if call('HDEL', PERMITS, 'w') == 1 then call('PUBLISH', ARGV[6], ARGV[7]) end
end
return 1
