-- uses: lazy meta rules
-- Limits of slots and scopes. A name is a slot, or a scope ('@…'). A list of entries (what other libraries call a slot) is
-- named by its slot and, behind '\31' each, its scopes: the limits of all of them count.
--
-- A limit is {interval = us, burst, concurrency, jitter, floor = us; quotas: see quotas.lua, or nil; slowed: true where
-- failures brought it about;
-- is_tried: true where the breaker opened it; usual: the interval that it would have; span: us, (burst - 1) * interval;
-- longest: us, the interval with all its jitter}.
--
-- A change, as stored in live: {interval, burst, concurrency: where they were changed; adapted: 1 where the interval was
-- found, not told by people: the floor holds all the same; ends: ms when these are over; least: us that the site asks for;
-- found: us, what was found, while people say something else; slowed_to: us that failures brought
-- about, slowed_at: ms, recovery: part of it a minute, floor: us; trying_until: ms until which one request at a time goes,
-- as the breaker wants it, each when the one before was judged; ramp_from, ramp:
-- ms since when and for which rate and concurrency grow, as the breaker wants it; quotas: in place of the rules'}.
-- A field that says nothing is missing.
local throttle = lazy.library(function()
    local PROBE = 200000000  -- us after which a probe of which nothing was heard is followed by another one
    local FEW = 2
    local RAMPED = 16  -- what counts as the concurrency of a slot without a limit, while it grows again

    local throttle  -- what it returns
    local call = redis.call
    local now, LIVE, PERMITS, TAT, HOLD, FREED, ORIGINS, QUOTA
    -- What this call has read or changed; a name missing in one of them was not looked at yet.
    local exists  -- key -> whether it is there
    local stored  -- hash -> name -> what it holds, or false
    local in_force, tats, held  -- name -> limit; us; us
    local split  -- list -> names

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

    -- Asks for all that is stored of names, one call a key: what a call to Redis costs is mostly the call. Of few names it
    -- costs no more than to ask whether there is such a key.
    local function fetch(names)
        local first, are_few = names[1], #names <= FEW
        if not first then return end
        for key, fields in pairs(stored) do
            if not names[2] and fields[first] ~= nil then  -- it is known
            elseif (exists[key] == nil and are_few) or is_there(key) then
                for i, raw in ipairs(meta.answers_in_parts('HMGET', key, names)) do fields[names[i]] = raw end
            else
                for _, name in ipairs(names) do fields[name] = false end
            end
        end
        for key, scores in pairs({[TAT] = tats, [HOLD] = held}) do
            local got = ((exists[key] == nil and are_few) or is_there(key)) and meta.answers_in_parts('ZMSCORE', key, names)
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
        packed = packed and cmsgpack.unpack(packed) or (set.patterns and not is_scope(name) and rules.matching(set, name))
        if packed then return rules.open_limit(packed) end
        return is_scope(name) and rules.UNLIMITED or set.limit
    end

    local function limit_of(name)
        local limit = in_force[name]
        if limit then return limit end
        for _, set in ipairs(rules.open().sets) do
            local its = limit_in(set, name)
            limit = limit and rules.strictest(limit, its) or its
        end
        limit = limit or rules.UNLIMITED
        if is_there(LIVE) and field(LIVE, name) then
            local changed = {}
            for part, value in pairs(limit) do changed[part] = value end
            throttle.apply(throttle.change_of(name), changed)
            limit = changed
        end
        limit.span = (limit.burst - 1) * limit.interval  -- us that tat may be ahead of a departure
        limit.longest = math.floor(limit.interval * (1 + limit.jitter))
        in_force[name] = limit
        return limit
    end

    local function is_paced(names)
        for _, name in ipairs(names) do
            local limit = limit_of(name)
            if limit.interval > 0 or limit.quotas then return true end
        end
        return false
    end

    -- Whether names have nothing to do with time: no interval, no quota, nothing that was booked, no hold.
    local function is_free(names)
        for _, name in ipairs(names) do
            local limit = limit_of(name)
            if limit.interval > 0 or limit.quotas or tats[name] ~= 0 or held[name] ~= 0 then return false end
        end
        return true
    end

    throttle = {
        LIVE = '', PERMITS = '', TAT = '', HOLD = '', FREED = '', ORIGINS = '', QUOTA = '',
        stored = '', tats = '', held = '', in_force = '', is_scope = is_scope, is_there = is_there, names_of = names_of,
        fetch = fetch, field = field, limit_of = limit_of, is_paced = is_paced, is_free = is_free,
    }
    lazy.with_rest(throttle, function()  -- of limits that were changed
        local function change_of(name)
            local packed = field(LIVE, name)
            local change = packed and cmsgpack.unpack(packed) or {}
            if change.ends and change.ends <= now then
                for _, part in ipairs({'burst', 'concurrency', 'ends'}) do change[part] = nil end
                change.interval, change.adapted, change.found = change.found, change.found and 1, nil
            end
            return change
        end

        local function set_change(name, change)
            local is_slowed, is_tried = (change.slowed_to or 0) > 0, (change.trying_until or 0) > now
            is_tried = is_tried or (change.ramp_from or 0) + (change.ramp or 0) > now
            local is_changed = change.interval or change.burst or change.concurrency or change.least or change.quotas
            if is_changed or is_slowed or is_tried then
                call('HSET', LIVE, name, cmsgpack.pack(change))
            else call('HDEL', LIVE, name) end
            exists[LIVE], in_force[name], stored[LIVE][name] = nil, nil, nil
        end

        local function space(limit, least)  -- so many us between two departures, whatever is drawn by jitter
            limit.interval = math.max(limit.interval, least)
            if limit.interval > 0 then limit.jitter = math.min(limit.jitter, 1 - least / limit.interval) end
        end

        local function apply(change, limit)
            local least, by_people = change.least or 0, change.interval and not change.adapted
            local usual = math.max(change.found and math.max(change.found, limit.floor) or limit.interval, least)
            for _, part in ipairs({'interval', 'burst', 'concurrency'}) do limit[part] = change[part] or limit[part] end
            if change.adapted then limit.interval = math.max(limit.interval, limit.floor) end
            if change.quotas then limit.quotas = #change.quotas > 0 and change.quotas or nil end
            space(limit, by_people and limit.interval or least)
            -- A longer interval ends with its change: nobody waits for the rest of one that is no longer in force.
            if change.ends and change.interval then
                limit.interval = math.min(limit.interval, math.max(usual, (change.ends - now) * 1000))
                if limit.interval > usual then limit.burst = 1 end  -- the rest of a burst would wait for longer
            end
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

        return {
            change_of = change_of, set_change = set_change, apply = apply,
        }
    end)

    local function fresh()
        local prefix = meta.prefix
        now, LIVE, PERMITS, TAT = meta.now, prefix .. 'live', prefix .. 'permits', prefix .. 'tat'
        HOLD, FREED, ORIGINS, QUOTA = prefix .. 'hold', prefix .. 'freed', prefix .. 'origins', prefix .. 'quota'
        throttle.LIVE, throttle.PERMITS, throttle.TAT, throttle.HOLD = LIVE, PERMITS, TAT, HOLD
        throttle.FREED, throttle.ORIGINS, throttle.QUOTA = FREED, ORIGINS, QUOTA
        exists, in_force, tats, held, split = {}, {}, {}, {}, {}
        stored = {[LIVE] = {}, [PERMITS] = {}, [FREED] = {}, [ORIGINS] = {}}
        throttle.stored, throttle.tats, throttle.held, throttle.in_force = stored, tats, held, in_force
        for _, set in ipairs(rules.open().sets) do
            if set.key then stored[set.key] = {} end
            if set.quotas then stored[QUOTA] = {} end  -- else it is read for the few names only that people gave some
        end
        -- Of these there is seldom any, so all of them are asked for at once.
        local asking = prefix .. 'asking'
        if call('EXISTS', LIVE, HOLD, FREED, asking) == 0 then
            exists[LIVE], exists[HOLD], exists[FREED], exists[asking] = false, false, false, false
        end
    end

    return throttle, fresh
end)
