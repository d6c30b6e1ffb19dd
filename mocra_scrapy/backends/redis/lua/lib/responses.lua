-- uses: lazy journal meta
-- What sites answered, beside dead letters of one shard.
local responses = lazy.library(function()
    local call, note, text = redis.call, journal.note, meta.text
    local BYTES = '\31'  -- beside the kinds, of which none is called so: bytes of all
    local OVERHEAD = 256  -- RESPONSE_OVERHEAD of the models
    local BODIES, KINDS

    local function open(stored)  -- -> kind, content
        local length, from = string.match(stored, '^(%d+):()')
        from = tonumber(from)
        return string.sub(stored, from, from + length - 1), string.sub(stored, from + length)
    end

    local function put(field, value)  -- into KINDS; nil: nothing
        local was = call('HGET', KINDS, field)
        if value then call('HSET', KINDS, field, value) else call('HDEL', KINDS, field) end
        if was then note('HSET', KINDS, field, was) else note('HDEL', KINDS, field) end
    end

    local function add_bytes(number)
        local bytes = tonumber(call('HGET', KINDS, BYTES) or 0) + number
        put(BYTES, bytes > 0 and text(bytes) or nil)
    end

    local function of_kind(kind)  -- ids, the oldest first
        local packed = call('HGET', KINDS, kind)
        return packed and cmsgpack.unpack(packed) or {}
    end

    -- Beside the letter id, where there is room. kept: {dead_bodies: of each kind, dead_bodies_bytes: of all, dead_ttl: ms for
    -- how long or 0} -> whether it is kept
    local function keep(id, kind, content, kept)
        local ids, size = of_kind(kind), #content + #kind + OVERHEAD
        if #ids >= kept.dead_bodies then return false end
        if tonumber(call('HGET', KINDS, BYTES) or 0) + size > kept.dead_bodies_bytes then return false end
        call('HSET', BODIES, id, #kind .. ':' .. kind .. content)
        note('HDEL', BODIES, id)
        ids[#ids + 1] = id
        put(kind, cmsgpack.pack(ids))
        add_bytes(size)
        for _, key in ipairs({BODIES, KINDS}) do  -- as the letters, see dead_letters.lua
            if kept.dead_ttl > 0 then call('PEXPIREAT', key, text(meta.now - meta.ahead + kept.dead_ttl))
            else call('PERSIST', key) end
        end
        return true
    end

    local function drop(gone)  -- those beside the letters gone: a list of ids
        if #gone == 0 or call('EXISTS', BODIES) == 0 then return end
        for i, stored in ipairs(call('HMGET', BODIES, unpack(gone))) do
            if stored then
                local kind, content = open(stored)
                local left = {}
                for _, id in ipairs(of_kind(kind)) do
                    if id ~= gone[i] then left[#left + 1] = id end
                end
                call('HDEL', BODIES, gone[i])
                note('HSET', BODIES, gone[i], stored)
                put(kind, #left > 0 and cmsgpack.pack(left) or nil)
                add_bytes(-(#content + #kind + OVERHEAD))
            end
        end
    end

    local function find(id)  -- content, or false
        local stored = call('HGET', BODIES, id)
        if not stored then return false end
        local _, content = open(stored)
        return content
    end

    local function fresh()
        BODIES, KINDS = meta.prefix .. 'dead:bodies', meta.prefix .. 'dead:kinds'
    end

    return {keep = keep, drop = drop, find = find, of_kind = of_kind}, fresh
end)
