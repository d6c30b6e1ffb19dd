-- uses: meta
-- Limits of slots and scopes. A name is a slot, or a scope ('@…'). A list of entries (what other libraries call a slot) is
-- named by its slot and, behind '\31' each, its scopes: the limits of all of them count.
--
-- A limit is {interval = us, burst, concurrency, jitter; slowed: true where failures brought it about;
-- is_tried: true where the breaker opened it; usual: the interval that it would have}.
--
-- A change, as stored in live: {interval, burst, concurrency: where they were changed; slowed_to: us that failures brought
-- about, slowed_at: ms, recovery: part of it a minute, floor: us; trying_until: ms until which one request at a time goes,
-- as the breaker wants it, each when the one before was judged; ramp_from, ramp:
-- ms since when and for which rate and concurrency grow, as the breaker wants it}. A field that says nothing is missing.
local throttle = (function()
    local call, text, prefix, now, now_us = redis.call, meta.text, meta.prefix, meta.now, meta.now_us
    local LIMITS, LIVE, PERMITS = prefix .. 'limits', prefix .. 'live', prefix .. 'permits'
    local TAT, HOLD, FREED = prefix .. 'tat', prefix .. 'hold', prefix .. 'freed'
    local PROBE = 200000000  -- us after which a probe of which nothing was heard is followed by another one
    local RAMPED = 16  -- what counts as the concurrency of a slot without a limit, while it grows again
    local UNLIMITED = {interval = 0, burst = 1, concurrency = 0, jitter = 0}
    local default_limit = UNLIMITED  -- of each slot that has none of its own

    -- What this call has read or changed; a name missing in one of them was not looked at yet.
    local exists = {}  -- key -> whether it is there
    local stored = {[LIMITS] = {}, [LIVE] = {}, [PERMITS] = {}, [FREED] = {}}  -- hash -> name -> what it holds, or false
    local in_force, tats, held = {}, {}, {}  -- name -> limit; us; us
    local split = {}  -- list -> names

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

    local function open_limit(packed)
        local interval, burst, concurrency, jitter = unpack(packed)
        return {interval = interval, burst = burst, concurrency = concurrency, jitter = jitter}
    end

    local function set_default(packed) default_limit = open_limit(packed) end

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
        if not is_there(LIMITS) and not is_there(LIVE) then  -- most crawls have no special limits at all
            limit = is_scope(name) and UNLIMITED or default_limit
            in_force[name] = limit
            return limit
        end
        local own = field(LIMITS, name)
        if own then limit = open_limit(cmsgpack.unpack(own))
        else
            limit = {}
            for part, value in pairs(is_scope(name) and UNLIMITED or default_limit) do limit[part] = value end
        end
        if field(LIVE, name) then apply(change_of(name), limit) end
        in_force[name] = limit
        return limit
    end

    local function set_limits(told)  -- {name, interval us, burst, concurrency, jitter} each
        for _, one in ipairs(told) do
            local name, interval, burst, concurrency, jitter = unpack(one)
            call('HSET', LIMITS, name, cmsgpack.pack({interval, burst, concurrency, jitter}))
            exists[LIMITS], in_force[name], stored[LIMITS][name] = true, nil, nil
        end
    end

    local function is_paced(names)
        for _, name in ipairs(names) do
            if limit_of(name).interval > 0 then return true end
        end
        return false
    end

    return {
        LIMITS = LIMITS, LIVE = LIVE, PERMITS = PERMITS, TAT = TAT, HOLD = HOLD, FREED = FREED, stored = stored,
        tats = tats, held = held, is_scope = is_scope,
        is_there = is_there, names_of = names_of, fetch = fetch, field = field, set_default = set_default,
        limit_of = limit_of, set_limits = set_limits, change_of = change_of, set_change = set_change, is_paced = is_paced,
    }
end)()
