-- uses: meta dead_letters
-- Dead letters for people: found by id, and searched.
local letter_search = (function()
    local call, text, now = redis.call, meta.text, meta.now
    local DEAD, DEAD_AT = dead_letters.DEAD, dead_letters.DEAD_AT

    local function ms_of(id) return tonumber(string.match(id, '^%d+') or -1) end

    local function find(id, ttl)  -- too old is gone, though its turn to be deleted may not have come
        if ttl > 0 and ms_of(id) <= now - ttl then return false end
        return call('HGET', DEAD, id)
    end

    local function open(packed)  -- what scripts need of a letter; number: of its fingerprint, or ''
        local slot, rank, _, _, body, reason, _, _, _, more, delivery = unpack(cmsgpack.unpack(packed))
        local done, _, _, number = unpack(more or {0, '', '', ''})
        return {slot = slot, rank = rank, body = body, reason = reason, done = done, number = number, delivery = delivery}
    end

    local of_delivery = {}  -- ms -> delivery -> ids
    local function siblings(id, letter)  -- ids of the letters of the same delivery, its own included: all of the same ms
        if not letter.delivery then return {id} end
        local ms = ms_of(id)
        if not of_delivery[ms] then
            of_delivery[ms] = {}
            for _, other in ipairs(call('ZRANGEBYSCORE', DEAD_AT, text(ms), text(ms))) do
                local packed = call('HGET', DEAD, other)
                local delivery = packed and open(packed).delivery
                if delivery then
                    local ids = of_delivery[ms][delivery] or {}
                    ids[#ids + 1] = other
                    of_delivery[ms][delivery] = ids
                end
            end
        end
        return of_delivery[ms][letter.delivery]
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

    return {find = find, open = open, siblings = siblings, search = search}
end)()
