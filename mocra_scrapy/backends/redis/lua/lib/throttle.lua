-- uses: meta rules
-- Limits of slots and scopes. A name is a slot, or a scope ('@…'). A list of entries (what other libraries call a slot) is
-- named by its slot and, behind '\31' each, its scopes: the limits of all of them count.
--
-- A limit is {interval = us, burst, concurrency, jitter, floor = us; slowed: true where failures brought it about;
-- is_tried: true where the breaker opened it; usual: the interval that it would have}.
--
-- A change, as stored in live: {interval, burst, concurrency: where they were changed; adapted: 1 where the interval was
-- found, not told by people: the floor holds all the same; slowed_to: us that failures brought
-- about, slowed_at: ms, recovery: part of it a minute, floor: us; trying_until: ms until which one request at a time goes,
-- as the breaker wants it, each when the one before was judged; ramp_from, ramp:
-- ms since when and for which rate and concurrency grow, as the breaker wants it}. A field that says nothing is missing.
--
-- GCRA: tat is when the next departure would be on time without any burst. A departure at d is early enough if
-- d >= tat - (burst - 1) * interval; it moves tat to max(d, tat) + interval. Departures are booked up to `lookahead` ahead,
-- so a fast list is served in batches.
local throttle = (function()
    local call, text, prefix, now, now_us = redis.call, meta.text, meta.prefix, meta.now, meta.now_us
    local LIVE, PERMITS = prefix .. 'live', prefix .. 'permits'
    local TAT, HOLD = prefix .. 'tat', prefix .. 'hold'
    local PROBE = 200000000  -- us after which a probe of which nothing was heard is followed by another one
    local RAMPED = 16  -- what counts as the concurrency of a slot without a limit, while it grows again

    -- What this call has read or changed; a name missing in one of them was not looked at yet.
    local exists = {}  -- key -> whether it is there
    local stored = {[LIVE] = {}, [PERMITS] = {}}  -- hash -> name -> what it holds, or false
    for _, set in ipairs(rules.open().sets) do
        if set.key then stored[set.key] = {} end
    end
    local in_force, tats, held = {}, {}, {}  -- name -> limit; us; us
    local moved = {}  -- names whose tat has to be written
    local split = {}  -- list -> names
    local seeded = false

    local function is_scope(name) return string.byte(name) == 64 end

    local function is_there(key)  -- asked once a call
        local there = exists[key]
        if there == nil then
            there = call('EXISTS', key) == 1
            exists[key] = there
        end
        return there
    end

    local function names_of(list)
        local out = split[list]
        if out then return out end
        if string.find(list, '\31', 1, true) then
            out = {}
            for name in string.gmatch(list .. '\31', '(.-)\31') do out[#out + 1] = name end
        else out = {list} end
        split[list] = out
        return out
    end

    -- Asks for all that is stored of names, one call a key: what a call to Redis costs is mostly the call.
    local function fetch(names)
        if #names == 0 then return end
        for key, fields in pairs(stored) do
            if is_there(key) then
                for i, raw in ipairs(meta.answers_in_parts('HMGET', key, names)) do fields[names[i]] = raw end
            else
                for _, name in ipairs(names) do fields[name] = false end
            end
        end
        for key, scores in pairs({[TAT] = tats, [HOLD] = held}) do
            local got = is_there(key) and meta.answers_in_parts('ZMSCORE', key, names)
            for i, name in ipairs(names) do
                if scores[name] == nil then scores[name] = got and tonumber(got[i] or 0) or 0 end
            end
        end
    end

    local function field(key, name)
        local raw = stored[key][name]
        if raw == nil then
            raw = is_there(key) and call('HGET', key, name)
            stored[key][name] = raw
        end
        return raw
    end

    -- ------------------------------------------------------------ limits

    local function limit_in(set, name)  -- what a rule set says of it
        local packed
        if set.given then packed = set.given[name] elseif set.key then
            stored[set.key] = stored[set.key] or {}  -- it may have come with this call
            packed = field(set.key, name)
        end
        packed = packed and cmsgpack.unpack(packed) or (not is_scope(name) and rules.matching(set, name))
        if packed then return rules.open_limit(packed) end
        return is_scope(name) and rules.UNLIMITED or set.limit
    end

    local function change_of(name)
        local packed = field(LIVE, name)
        return packed and cmsgpack.unpack(packed) or {}
    end

    local function set_change(name, change)
        local is_slowed, is_tried = (change.slowed_to or 0) > 0, (change.trying_until or 0) > now
        is_tried = is_tried or (change.ramp_from or 0) + (change.ramp or 0) > now
        if change.interval or change.burst or change.concurrency or is_slowed or is_tried then
            call('HSET', LIVE, name, cmsgpack.pack(change))
        else call('HDEL', LIVE, name) end
        exists[LIVE], in_force[name], stored[LIVE][name] = nil, nil, nil
    end

    local function apply(change, limit)
        for _, part in ipairs({'interval', 'burst', 'concurrency'}) do limit[part] = change[part] or limit[part] end
        if change.adapted then limit.interval = math.max(limit.interval, limit.floor) end
        if (change.slowed_to or 0) > 0 then
            local left = change.slowed_to * (1 - change.recovery) ^ ((now - change.slowed_at) / 60000)
            if left > math.max(limit.interval, change.floor / 2) then
                limit.interval, limit.burst, limit.slowed = left, 1, true
            end
        end
        local ramped = (now - (change.ramp_from or 0)) / (change.ramp or 1)
        if ramped < 1 then
            ramped = math.max(0.1, ramped)
            local concurrency = limit.concurrency > 0 and limit.concurrency or RAMPED
            limit.burst, limit.interval = 1, math.floor(limit.interval / ramped)
            limit.concurrency = math.max(1, math.floor(concurrency * ramped))
        end
        if (change.trying_until or 0) > now then
            limit.burst, limit.concurrency, limit.is_tried, limit.usual = 1, 1, true, limit.interval
            limit.interval = math.max(limit.interval, PROBE)
        end
    end

    local function limit_of(name)
        local limit = in_force[name]
        if limit then return limit end
        for _, set in ipairs(rules.open().sets) do limit = rules.strictest(limit, limit_in(set, name)) end
        limit = limit or rules.UNLIMITED
        if is_there(LIVE) and field(LIVE, name) then
            local changed = {}
            for part, value in pairs(limit) do changed[part] = value end
            apply(change_of(name), changed)
            limit = changed
        end
        in_force[name] = limit
        return limit
    end

    -- ------------------------------------------------------------ departures, in us

    local function score(scores, key, name)
        local at = scores[name]
        if at == nil then
            at = is_there(key) and tonumber(call('ZSCORE', key, name) or 0) or 0
            scores[name] = at
        end
        return at
    end

    -- The earliest instant for one more, math.huge while one of them is paused; the name that it has to wait for, or nil.
    local function departure(names)
        local at, last = now_us, nil
        for _, name in ipairs(names) do
            local due = held[name] or score(held, HOLD, name)
            local tat = tats[name] or score(tats, TAT, name)
            if tat > 0 then
                local limit = limit_of(name)
                due = math.max(due, tat - (limit.burst - 1) * limit.interval)
            end
            if due > at then at, last = due, name end
        end
        return at, last
    end

    local function book(names, at)  -- one departure
        for _, name in ipairs(names) do
            local limit = limit_of(name)
            local interval = limit.interval
            if interval > 0 then
                if limit.jitter > 0 then
                    if not seeded then math.randomseed(now_us % 2147483647); seeded = true end
                    interval = interval * (1 + limit.jitter * (2 * math.random() - 1))
                end
                tats[name] = math.max(at, tats[name] or score(tats, TAT, name)) + interval
                moved[name] = true
            end
        end
    end

    local function fits(names, most, horizon)  -- how many may depart until then
        local saved, n = {}, 0
        for _, name in ipairs(names) do saved[name] = tats[name] or score(tats, TAT, name) end
        while n < most do
            local at = departure(names)
            if at > horizon then break end
            book(names, at)
            n = n + 1
        end
        for name, tat in pairs(saved) do tats[name] = tat end
        return n
    end

    local function is_paced(names)
        for _, name in ipairs(names) do
            if limit_of(name).interval > 0 then return true end
        end
        return false
    end

    local function save_departures()
        if not next(moved) then return end
        local args = {}
        for name in pairs(moved) do
            args[#args + 1] = text(tats[name])
            args[#args + 1] = name
        end
        meta.in_parts('ZADD', TAT, args)
        for _, key in ipairs({TAT, HOLD}) do  -- what is over is of no more use
            local old = call('ZRANGEBYSCORE', key, '-inf', text(now_us), 'LIMIT', 0, 64)
            if #old > 0 then call('ZREM', key, unpack(old)) end
        end
    end

    return {
        LIVE = LIVE, PERMITS = PERMITS, TAT = TAT, HOLD = HOLD, stored = stored, is_scope = is_scope,
        is_there = is_there, names_of = names_of, fetch = fetch, field = field,
        limit_of = limit_of, change_of = change_of, set_change = set_change,
        departure = departure, book = book, fits = fits, is_paced = is_paced, save_departures = save_departures,
    }
end)()
