-- uses: coordination
-- A lock or semaphore.
local lock = (function()
    local call, text, now = redis.call, coordination.text, coordination.now
    local PERMITS, UNTIL = coordination.prefix .. 'permits', coordination.prefix .. 'until'
    local AFTERGLOW = 3600000  -- ms that the record of a lock outlives its last hold

    local function expire()  -- permits whose time is over are nobody's
        for _, gone in ipairs(call('ZRANGEBYSCORE', UNTIL, '-inf', text(now), 'LIMIT', 0, 100)) do
            call('ZREM', UNTIL, gone)
            call('HDEL', PERMITS, '@' .. gone)
        end
    end

    local function number_of(owner)  -- of its hold, or false
        local ends = tonumber(call('ZSCORE', UNTIL, owner) or 0)
        return ends > now and call('HGET', PERMITS, '@' .. owner)
    end

    local function hold(owner, ttl)
        call('ZADD', UNTIL, text(now + ttl), owner)
        for _, key in ipairs({PERMITS, UNTIL}) do
            if call('PTTL', key) < ttl + AFTERGLOW then call('PEXPIRE', key, text(ttl + AFTERGLOW)) end
        end
    end

    return {PERMITS = PERMITS, UNTIL = UNTIL, expire = expire, number_of = number_of, hold = hold}
end)()
