-- uses: coordination
-- A lock or semaphore.
local lock = (function()
    local PERMITS, UNTIL = coordination.prefix .. 'permits', coordination.prefix .. 'until'
    coordination.steady(PERMITS)
    local call, text, now = redis.call, coordination.text, coordination.now
    local LINE = coordination.prefix .. 'line'
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
        call('HSET', PERMITS, 'heard', text(now))
        for _, key in ipairs({PERMITS, UNTIL}) do
            if call('PTTL', key) < ttl + AFTERGLOW then call('PEXPIRE', key, text(ttl + AFTERGLOW)) end
        end
    end

    -- How many of those who began to wait before *owner* take the permits that are free. Who did not ask again in time has
    -- left the line.
    local function ahead(owner, free)
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

    local function leave_line(owner)
        call('HDEL', PERMITS, '~' .. owner)
        return call('ZREM', LINE, owner) == 1
    end

    local function stand_in_line(owner, patience)
        call('ZADD', LINE, 'NX', text(coordination.now_us), owner)
        call('HSET', PERMITS, '~' .. owner, text(now + patience), 'heard', text(now))
        for _, key in ipairs({PERMITS, LINE}) do
            if call('PTTL', key) < AFTERGLOW then call('PEXPIRE', key, AFTERGLOW) end
        end
    end

    local function wake(channel, message)
        if call('HDEL', PERMITS, 'awaited') == 1 then redis.pcall('PUBLISH', channel, message) end
    end

    return {
        PERMITS = PERMITS, UNTIL = UNTIL, expire = expire, number_of = number_of, hold = hold, ahead = ahead,
        leave_line = leave_line, stand_in_line = stand_in_line, wake = wake,
    }
end)()
