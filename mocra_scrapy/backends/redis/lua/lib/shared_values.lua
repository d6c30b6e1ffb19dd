-- uses: coordination
-- A namespace of values: the hash KEYS[1]. A value is packed as {version, fence, value, ends: ms when it is gone, or nothing}.
local shared_values = (function()
    local text, now = coordination.text, coordination.now
    local ENDS = coordination.prefix .. 'ends'

    local function open(packed)  -- {version, fence, value or false, ends}; what none of us has written as it is, with version 0
        if not packed then return {version = 0, fence = 0, value = false} end
        local good, one = pcall(cmsgpack.unpack, packed)
        if good and type(one) == 'table' and type(one[1]) == 'number' and type(one[2]) == 'number' then
            local is_over = type(one[4]) == 'number' and one[4] <= now
            return {version = one[1], fence = one[2], value = not is_over and one[3], ends = one[4]}
        end
        return {version = 0, fence = 0, value = packed}
    end

    local function pack(one) return cmsgpack.pack({one.version, one.fence, one.value, one.ends}) end

    local function read(name) return open(redis.call('HGET', KEYS[1], name)) end

    local function answer(one) return {text(one.version), text(one.fence), one.value} end

    local function tidy(most)  -- after a value that ends was stored: a few of those that are over go, and what is too much
        local over = redis.call('ZRANGEBYSCORE', ENDS, '-inf', text(now), 'LIMIT', 0, 16)
        for _, name in ipairs(#over > 0 and over or redis.call('ZRANGE', ENDS, 0, -most - 1)) do
            redis.call('ZREM', ENDS, name)
            redis.call('HDEL', KEYS[1], name)
        end
        if redis.call('HLEN', KEYS[1]) == redis.call('ZCARD', ENDS) then  -- nothing else is there
            local last = redis.call('ZRANGE', ENDS, -1, -1, 'WITHSCORES')[2]
            for _, key in ipairs({KEYS[1], ENDS}) do redis.call('PEXPIRE', key, text(last - now + 1000)) end
        end
    end

    return {ENDS = ENDS, open = open, pack = pack, read = read, answer = answer, tidy = tidy}
end)()
