-- A lock or semaphore. ARGV: verb, owner, number, ttl ms, limit, ms that it stands in line, channel, message.
-- acquire -> {number, ms left} or {}; renew, release -> 1 or 0; holders -> {owner, number, ms left, ...}
local PERMITS, UNTIL, LINE = P .. 'permits', P .. 'until', P .. 'line'
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

-- Those who wait and came before: places that are free are theirs. Who did not ask again in time has left the line ('~' in PERMITS).
local function ahead(free)
    local n = 0
    while n < free do
        local one = call('ZRANGE', LINE, n, n)[1]
        if not one or one == owner then break end
        if tonumber(call('HGET', PERMITS, '~' .. one) or 0) > now then n = n + 1
        else
            call('ZREM', LINE, one)
            call('HDEL', PERMITS, '~' .. one)
        end
    end
    return n
end

local function leave_line()
    call('HDEL', PERMITS, '~' .. owner)
    return call('ZREM', LINE, owner) == 1
end

local function stand_in_line(patience)
    call('ZADD', LINE, 'NX', text(now_us), owner)
    call('HSET', PERMITS, '~' .. owner, text(now + patience))
    for _, key in ipairs({PERMITS, LINE}) do
        if call('PTTL', key) < AFTERGLOW then call('PEXPIRE', key, AFTERGLOW) end
    end
end

local ends = tonumber(call('ZSCORE', UNTIL, owner) or 0)
local mine = ends > now and call('HGET', PERMITS, '@' .. owner)

if verb == 'acquire' then
    if not mine then
        local free = tonumber(ARGV[5]) - call('ZCOUNT', UNTIL, '(' .. text(now), '+inf')
        if free <= 0 or ahead(free) >= free then
            call('HSET', PERMITS, 'w', 1)
            if tonumber(ARGV[6]) > 0 then stand_in_line(tonumber(ARGV[6])) end
            return {}
        end
        leave_line()
        mine = text(greater(call('HGET', PERMITS, '#')))
        call('HSET', PERMITS, '#', mine, '@' .. owner, mine)
    end
    hold()
    return {mine, text(ttl)}
end

local function wake()
    if call('HDEL', PERMITS, 'w') == 1 then call('PUBLISH', ARGV[7], ARGV[8]) end
end

if number == '0' then  -- whatever it holds
    number = mine
    if leave_line() then wake() end
end
if not mine or mine ~= number then return 0 end
if verb == 'renew' then
    hold()
else
    call('ZREM', UNTIL, owner)
    call('HDEL', PERMITS, '@' .. owner)
    wake()
end
return 1
