-- uses: meta items
-- Dead letters of one shard.
local dead_letters = (function()
    local call, text, now = redis.call, meta.text, meta.now
    local DEAD, DEAD_AT = meta.prefix .. 'dead', meta.prefix .. 'dead:at'

    local function ms_of(id) return tonumber(string.match(id, '^%d+') or -1) end

    local function find(id, ttl)  -- too old is gone, though its turn to be deleted may not have come
        if ttl > 0 and ms_of(id) <= now - ttl then return false end
        return call('HGET', DEAD, id)
    end

    local function open(packed)  -- what scripts need of a letter; number: of its fingerprint, or ''
        local slot, rank, _, _, body, reason, _, _, _, more = unpack(cmsgpack.unpack(packed))
        local done, _, _, number = unpack(more or {0, '', '', ''})
        return {slot = slot, rank = rank, body = body, reason = reason, done = done, number = number}
    end

    local function drop(ids)
        if #ids == 0 then return end
        call('HDEL', DEAD, unpack(ids))
        call('ZREM', DEAD_AT, unpack(ids))
    end

    local function expire(ttl)  -- bounded; those that are too old and still there are passed over, see find and search
        if ttl > 0 then drop(call('ZRANGEBYSCORE', DEAD_AT, '-inf', text(now - ttl), 'LIMIT', 0, 100)) end
    end

    -- Stores a letter. count: hand-outs it had; kept: {max_dead: how many letters, dead_ttl: ms for how long or 0}; body:
    -- what a replay puts back; more: the last part of a letter, see meta.lua.
    local function write(placed, count, reason, detail, worker, kept, body, more)
        local rank, slot, item = items.unplace(placed)
        meta.seq = meta.seq + 1
        local id = string.format('%013.0f-%08.0f', now, meta.seq % 100000000)
        local lost = items.first_lost(item) or -1
        local letter = {slot, rank, count, lost, body or items.body(item), reason, detail, worker, now, more}
        call('HSET', DEAD, id, cmsgpack.pack(letter))
        call('ZADD', DEAD_AT, text(now), id)
        local over = math.min(100, call('ZCARD', DEAD_AT) - kept.max_dead)
        if over > 0 then drop(call('ZRANGE', DEAD_AT, 0, over - 1)) end
        for _, key in ipairs({DEAD, DEAD_AT}) do  -- nobody may come to clean up: with the last letter the keys go by themselves
            if kept.dead_ttl > 0 then call('PEXPIREAT', key, text(now - meta.skew + kept.dead_ttl)) else call('PERSIST', key) end
        end
    end

    local function bury(placed, count, reason, detail, worker, kept)  -- a leased entry becomes a dead letter
        write(placed, count, reason, detail, worker, kept, nil, {0, '', '', '', 0, -1})
        meta.leased = math.max(0, meta.leased - 1)
    end

    local function first_after(after, since, ttl)  -- how many letters come before those that are searched
        local from = 0
        if after ~= '' then
            local ms = ms_of(after)
            from = call('ZCOUNT', DEAD_AT, '-inf', '(' .. text(ms))  -- those of the same ms are looked through
            for _, id in ipairs(call('ZRANGEBYSCORE', DEAD_AT, text(ms), text(ms))) do
                if id <= after then from = from + 1 end
            end
        end
        if since >= 0 then from = math.max(from, call('ZCOUNT', DEAD_AT, '-inf', '(' .. text(since))) end
        if ttl > 0 then from = math.max(from, call('ZCOUNT', DEAD_AT, '-inf', text(now - ttl))) end
        return from
    end

    -- A step of a search. Calls found(id, packed letter, letter) for each that fits. ARGV: ms for which letters are kept or
    -- 0; packed map: reason or false, slot or false, since, before: ms or -1, done: 0, 1 or -1 for both; id after which to
    -- begin ('' for the first); how many to find; how many to look at -> id of the last one looked at, '' when there are
    -- no more
    local function search(found)
        local ttl, where, after = tonumber(ARGV[1]), cmsgpack.unpack(ARGV[2]), ARGV[3]
        local want, looks = tonumber(ARGV[4]), tonumber(ARGV[5])

        local function fits(letter)
            return (not where.reason or letter.reason == where.reason)
                and (not where.slot or string.match(letter.slot, '^[^\31]*') == where.slot)
                and (where.done < 0 or where.done == letter.done)
        end

        local from, at, hits = first_after(after, where.since, ttl), '', 0
        local ids = call('ZRANGE', DEAD_AT, from, from + looks - 1)
        for _, id in ipairs(ids) do
            if hits == want or (where.before >= 0 and ms_of(id) >= where.before) then return '' end
            at = id
            local packed = call('HGET', DEAD, id)
            local letter = packed and open(packed)
            if letter and fits(letter) then
                hits = hits + 1
                found(id, packed, letter)
            end
        end
        return #ids < looks and '' or at
    end

    return {find = find, open = open, drop = drop, expire = expire, write = write, bury = bury, search = search}
end)()
