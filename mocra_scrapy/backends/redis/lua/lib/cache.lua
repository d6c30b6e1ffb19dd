-- uses: coordination
-- A part of a namespace of the cache: its keys are in coordination.lua. An entry is 'v' and the name of a value, or 's' and the
-- name of a sorted set. It is there while `ends` says so, whatever the other keys hold.
local cache = (function()
    local call, text, now, prefix = redis.call, coordination.text, coordination.now, coordination.prefix
    local VALUES, ENDS, NAMES, SETS, ABOUT = KEYS[1], prefix .. 'ends', prefix .. 'names', prefix .. 'sets', prefix .. 'about'
    local CUT = prefix .. 'cut'
    local GRACE = 1000  -- ms that the keys outlive the last entry
    local STEP = 500  -- entries that one call removes at most

    local function key_of(set) return prefix .. 'set:' .. set end

    local function grow(what, by) if by ~= 0 then call('HINCRBY', ABOUT, what, text(by)) end end

    local function count(what) return tonumber(call('HGET', ABOUT, what) or 0) end

    local function each_piece(cut, command, ...)  -- of a large value, which is stored in keys of its own
        local id, pieces = string.match(cut, '^(%x+):(%d+):')
        for n = 0, tonumber(pieces or 0) - 1 do call(command, prefix .. 'piece:' .. id .. ':' .. n, ...) end
    end

    local function size_of(name)
        local cut = call('HGET', CUT, name)
        return cut and tonumber(string.match(cut, '%d+$')) or call('HSTRLEN', VALUES, name)
    end

    local function drop_pieces(name)
        local cut = call('HGET', CUT, name)
        if cut then
            each_piece(cut, 'UNLINK')
            call('HDEL', CUT, name)
        end
    end

    local function drop(entry)  -- the entry and all that belongs to it
        local name = string.sub(entry, 2)
        call('ZREM', ENDS, entry)
        if string.sub(entry, 1, 1) == 'v' then
            local size = size_of(name)
            drop_pieces(name)
            if call('HDEL', VALUES, name) == 1 then grow('bytes', -size - #name) end
            call('ZREM', NAMES, name)
        else
            grow('bytes', -tonumber(call('HGET', SETS, name) or 0))
            grow('members', -call('ZCARD', key_of(name)))
            call('HDEL', SETS, name)
            call('UNLINK', key_of(name))
        end
    end

    local function left(entry)  -- ms until it ends, or false; what is over is cleared away by who finds it
        local ends = call('ZSCORE', ENDS, entry)
        if not ends then return false end
        ends = tonumber(ends)
        if ends > now then return ends - now end
        drop(entry)
        return false
    end

    local function forget()  -- after something was deleted: when nothing is left its counts go, too
        if call('EXISTS', ENDS) == 0 then call('DEL', ABOUT) end
    end

    -- What is to be stored makes no room: it is what needs some. The first command that writes, so a server whose memory is
    -- full refuses it, and with it all.
    local function protect(entry) call('ZADD', ENDS, 'XX', '+inf', entry) end

    local function is_full(entries, bytes, limits)
        return call('HLEN', VALUES) + count('members') + entries > limits.entries or count('bytes') + bytes > limits.bytes
    end

    local function outlive(key, ttl)  -- no key is there for ever
        if call('PTTL', key) < ttl + GRACE then call('PEXPIRE', key, text(ttl + GRACE)) end
    end

    local function keep(entry, ttl)
        call('ZADD', ENDS, text(now + ttl), entry)
        for _, key in ipairs({VALUES, ENDS, NAMES, SETS, ABOUT, CUT}) do outlive(key, ttl) end
        local cut = string.sub(entry, 1, 1) == 'v' and call('HGET', CUT, string.sub(entry, 2))
        if cut then each_piece(cut, 'PEXPIRE', text(ttl + GRACE)) end
    end

    -- Before `entries` and `bytes` come: what is over goes, then what ends first. -> how many went before their end, and 1
    -- when more have to go than one call removes
    local function make_room(entries, bytes, limits)
        for _, over in ipairs(call('ZRANGEBYSCORE', ENDS, '-inf', text(now), 'LIMIT', 0, 20)) do drop(over) end
        local went = 0
        while is_full(entries, bytes, limits) do
            local first = call('ZRANGE', ENDS, 0, 0, 'WITHSCORES')
            if not first[1] or first[2] == 'inf' then break end
            if went == STEP then return went, 1 end
            if tonumber(first[2]) > now then went = went + 1 end
            drop(first[1])
        end
        return went, 0
    end

    local function store(name, value, ttl, cut)
        local old = size_of(name)
        drop_pieces(name)
        if call('HSET', VALUES, name, value) == 1 then
            call('ZADD', NAMES, 0, name)
            old = -#name
        end
        if cut ~= '' then call('HSET', CUT, name, cut) end
        grow('bytes', size_of(name) - old)
        keep('v' .. name, ttl)
    end

    -- It is stored already, and who missed this looks anew after its own time.
    local function tell(channel, name) redis.pcall('PUBLISH', channel, name) end

    return {
        VALUES = VALUES, ENDS = ENDS, NAMES = NAMES, SETS = SETS, ABOUT = ABOUT, left = left, key_of = key_of, grow = grow,
        count = count, drop = drop, forget = forget, is_full = is_full, outlive = outlive, keep = keep, protect = protect,
        make_room = make_room, store = store, tell = tell, CUT = CUT, size_of = size_of,
    }
end)()
