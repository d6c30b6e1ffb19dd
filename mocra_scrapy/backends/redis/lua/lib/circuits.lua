-- uses: meta
-- Circuits: what the breaker knows of a slot, and ('@') of the crawl. Stored packed: {buckets = {{part of the window,
-- downloads, failures, {kind -> failures}} each}; held_until: ms, 0: closed; openings in a row; probes that went well;
-- longest: ms for which it may be tried;
-- reset_at: ms when it was reset; trip, of the crawl: {ms, failures, downloads, kinds}}.
local circuits = (function()
    local call, text, now = redis.call, meta.text, meta.now
    local KEY, UNTIL = meta.prefix .. 'br', meta.prefix .. 'br:at'

    local function closed() return {buckets = {}, held_until = 0, openings = 0, probes = 0} end

    local function look_up(name)  -- and whether anything is known
        local packed = call('HGET', KEY, name)
        if packed and tonumber(call('ZSCORE', UNTIL, name) or 0) > now then return cmsgpack.unpack(packed), true end
        return closed(), false
    end

    local function keep(name, circuit, ms)  -- what is known of it, for so long
        call('HSET', KEY, name, cmsgpack.pack(circuit))
        call('ZADD', UNTIL, text(now + ms), name)
    end

    local function outlast(name, at)  -- ms: it is kept for as long as it may be tried after that -> ms when it is forgotten
        local circuit = look_up(name)
        if circuit.held_until == 0 then return nil end
        local ends = math.max(tonumber(call('ZSCORE', UNTIL, name)), math.ceil(at) + (circuit.longest or 0))
        call('ZADD', UNTIL, text(ends), name)
        for _, key in ipairs({KEY, UNTIL}) do
            local left = call('PTTL', key)
            if left >= 0 and left < ends - now + 1000 then call('PEXPIRE', key, text(ends - now + 1000)) end
        end
        return ends
    end

    local function half_open(name)  -- its hold was ended by hand: what departs from now on tries the site
        local circuit = look_up(name)
        if circuit.held_until > now then
            circuit.held_until = now
            call('HSET', KEY, name, cmsgpack.pack(circuit))
        end
    end

    local function drop(name)
        call('HDEL', KEY, name)
        call('ZREM', UNTIL, name)
    end

    return {
        KEY = KEY, UNTIL = UNTIL, THE_CRAWL = '@', -- no slot is called so
        closed = closed, look_up = look_up, keep = keep, half_open = half_open, outlast = outlast, drop = drop,
    }
end)()
