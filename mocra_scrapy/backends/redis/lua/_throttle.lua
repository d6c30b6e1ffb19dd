-- Put behind the prelude in scripts that know limits: exchange, limiter. A name is a slot, or a scope ('@…'). A list of entries (what the
-- prelude calls a slot) is named by its slot and, behind '\31' each, its scopes: the limits of all of them count.
--
-- GCRA: tat is when the next departure would be on time without any burst. A departure at d is early enough if d >= tat - (burst - 1) *
-- interval; it moves tat to max(d, tat) + interval. Departures are booked up to `lookahead` ahead, so a fast list is served in batches.
local LIMITS, LIVE, TAT, HOLD, PERMITS, ASKING = P .. 'limits', P .. 'live', P .. 'tat', P .. 'hold', P .. 'permits', P .. 'asking'
local MANY = 1000000  -- permits of what has no limit of concurrency
local ASKED = 5000  -- ms after which a worker that found no place no longer counts, unless it comes again
local D  -- the crawl's default limit: {interval us, burst, concurrency, jitter}

local there, in_force, tats, helds, moved, holders, alive = {}, {}, {}, {}, {}, {}, {}
local fetched = {[LIMITS] = {}, [LIVE] = {}, [PERMITS] = {}}  -- fields that were asked for beforehand

local function is_there(key)  -- asked once a call: most crawls have no special limits at all
    if there[key] == nil then there[key] = call('EXISTS', key) == 1 end
    return there[key]
end

local split = {}
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
    for key, fields in pairs(fetched) do
        if is_there(key) then
            for i, raw in ipairs(call('HMGET', key, unpack(names))) do fields[names[i]] = raw end
        else
            for _, name in ipairs(names) do fields[name] = false end
        end
    end
    for key, scores in pairs({[TAT] = tats, [HOLD] = helds}) do
        local got = is_there(key) and call('ZMSCORE', key, unpack(names))
        for i, name in ipairs(names) do
            if scores[name] == nil then scores[name] = got and tonumber(got[i] or 0) or 0 end
        end
    end
end

local function field(key, name)
    local raw = fetched[key][name]
    if raw == nil then
        raw = is_there(key) and call('HGET', key, name)
        fetched[key][name] = raw
    end
    return raw
end

local function limit_of(name)
    local l = in_force[name]
    if l then return l end
    if string.byte(name) ~= 64 and not is_there(LIMITS) and not is_there(LIVE) then return D end
    local set = field(LIMITS, name)
    if set then l = cmsgpack.unpack(set)
    elseif string.byte(name) == 64 then l = {0, 1, 0, 0}
    else l = {D[1], D[2], D[3], D[4]} end
    local live = field(LIVE, name)
    if live then
        local v = cmsgpack.unpack(live)
        for i = 1, 3 do
            if v[i] >= 0 then l[i] = v[i] end
        end
        if (v[8] or 0) > now then l[2], l[3] = 1, 1 end  -- opened by the breaker: one at a time
        local left = v[4] > 0 and v[4] * (1 - v[6]) ^ ((now - v[5]) / 60000) or 0
        if left > math.max(l[1], v[7] / 2) then l[1], l[2], l[5] = left, 1, v[5] end
    end
    in_force[name] = l
    return l
end

local function set_limits(told)  -- {name, interval us, burst, concurrency, jitter} each
    for _, t in ipairs(told) do
        call('HSET', LIMITS, t[1], cmsgpack.pack({t[2], t[3], t[4], t[5]}))
        there[LIMITS], in_force[t[1]], fetched[LIMITS][t[1]] = true, nil, nil
    end
end

-- ---------------------------------------------------------------- departures, in us

local function tat_of(name)
    if tats[name] == nil then tats[name] = is_there(TAT) and tonumber(call('ZSCORE', TAT, name) or 0) or 0 end
    return tats[name]
end

local function held_of(name)
    if helds[name] == nil then helds[name] = is_there(HOLD) and tonumber(call('ZSCORE', HOLD, name) or 0) or 0 end
    return helds[name]
end

local function departure(names)  -- the earliest instant for one more; math.huge while one of them is paused
    local at = now_us
    for _, name in ipairs(names) do
        at = math.max(at, held_of(name))
        local tat = tat_of(name)
        if tat > 0 then
            local l = limit_of(name)
            at = math.max(at, tat - (l[2] - 1) * l[1])
        end
    end
    return at
end

local seeded = false
local function book(names, at)
    for _, name in ipairs(names) do
        local l = limit_of(name)
        if l[1] > 0 then
            local interval = l[1]
            if l[4] > 0 then
                if not seeded then math.randomseed(now_us % 2147483647); seeded = true end
                interval = interval * (1 + l[4] * (2 * math.random() - 1))
            end
            tats[name] = math.max(at, tat_of(name)) + interval
            moved[name] = true
        end
    end
end

local function fits(names, most, horizon)  -- how many may depart until then
    local saved, n = {}, 0
    for _, name in ipairs(names) do saved[name] = tat_of(name) end
    while n < most do
        local at = departure(names)
        if at > horizon then break end
        book(names, at)
        n = n + 1
    end
    for name, tat in pairs(saved) do tats[name] = tat end
    return n
end

local function save_departures()
    if not next(moved) then return end
    local args = {}
    for name in pairs(moved) do
        args[#args + 1] = text(tats[name])
        args[#args + 1] = name
    end
    call('ZADD', TAT, unpack(args))
    for _, key in ipairs({TAT, HOLD}) do  -- what is over is of no more use
        local old = call('ZRANGEBYSCORE', key, '-inf', text(now_us), 'LIMIT', 0, 64)
        if #old > 0 then call('ZREM', key, unpack(old)) end
    end
end

-- ---------------------------------------------------------------- permits

local function lives(worker)
    if alive[worker] == nil then
        local ends = call('ZSCORE', WORKERS, worker)
        alive[worker] = ends and tonumber(ends) >= now or false
    end
    return alive[worker]
end

local function holders_of(name)  -- {worker -> permits}; those of workers that left or died are nobody's
    local raw, out = field(PERMITS, name), {}
    if raw then
        local flat = cmsgpack.unpack(raw)
        for i = 1, #flat, 2 do
            if lives(flat[i]) then out[flat[i]] = flat[i + 1] end
        end
    end
    return out
end

local function permits_of(name, me)
    local s = holders[name]
    if s then return s end
    s = {mine = 0, total = 0, holders = holders_of(name), asking = 0, parties = 1}
    for holder, n in pairs(s.holders) do
        s.total = s.total + n
        if holder == me then s.mine = n else s.parties = s.parties + 1 end
    end
    s.holders[me] = nil
    s.was = s.mine
    if is_there(ASKING) and call('ZSCORE', ASKING, name) then
        local flat = call('HGETALL', P .. 'ask:' .. name)
        for i = 1, #flat, 2 do
            if flat[i] ~= me and now - tonumber(flat[i + 1]) < ASKED then
                s.asking = s.asking + 1
                if not s.holders[flat[i]] then s.parties = s.parties + 1 end
            end
        end
    end
    holders[name] = s
    return s
end

local function share(name, me)  -- permits that it may have now, its fair share
    local s, concurrency = permits_of(name, me), limit_of(name)[3]
    if concurrency == 0 then concurrency = MANY end
    if s.parties == 1 then return concurrency, concurrency end  -- nobody else is there
    local fair = math.max(1, math.floor(concurrency / s.parties))
    local cap = s.mine + math.max(0, concurrency - s.total)
    if s.asking > 0 then cap = math.max(s.mine, math.min(cap, fair)) end
    return cap, fair
end

local function notes_of(worker)  -- {name -> permits to come down to}, {name -> us until when nothing departs}
    local packed = call('HGET', held_by(worker), '@')
    if not packed then return {}, {} end
    local both = cmsgpack.unpack(packed)
    return both[1], both[2]
end

local function note(worker, notes, holds)
    local key = held_by(worker)
    if next(notes) or next(holds) then call('HSET', key, '@', cmsgpack.pack({notes, holds})) else call('HDEL', key, '@') end
end

local function ask(name, me, fair)  -- no place for me: those who have more than their share are asked
    call('HSET', P .. 'ask:' .. name, me, text(now))
    call('PEXPIRE', P .. 'ask:' .. name, ASKED)
    call('ZADD', ASKING, text(now), name)
    call('PEXPIRE', ASKING, ASKED)
    for holder, n in pairs(permits_of(name, me).holders) do
        if n > fair then
            local notes, holds = notes_of(holder)
            notes[name] = fair
            note(holder, notes, holds)
        end
    end
end

local function room_for(names, me, loads)  -- how many entries it may have more; and, when none for want of permits, the name
    local each, room = 2, MANY
    for _, name in ipairs(names) do
        if limit_of(name)[1] > 0 then each = 1 end
    end
    for _, name in ipairs(names) do
        local cap, fair = share(name, me)
        local here = each * cap - (loads[name] or 0)
        if here <= 0 and cap < fair then
            ask(name, me, fair)
            return 0, name
        end
        room = math.min(room, here)
    end
    return math.max(0, room)
end

local function grant(names, me, loads)
    for _, name in ipairs(names) do
        local s, cap = permits_of(name, me), share(name, me)
        local wanted = math.min(cap, loads[name] or 0)
        if wanted > s.mine then
            s.total, s.mine = s.total + wanted - s.mine, wanted
        end
    end
end

local single = {}  -- what is stored where one worker has n permits and nobody else has any
local function alone(me, n)
    if not single[n] then single[n] = cmsgpack.pack({me, n}) end
    return single[n]
end

local function pack_holders(holders, me, mine)  -- nil: nobody has any
    if next(holders) == nil then return mine > 0 and alone(me, mine) or nil end
    local flat = {}
    for holder, n in pairs(holders) do
        if holder ~= me then flat[#flat + 1] = holder; flat[#flat + 1] = n end
    end
    if mine > 0 then flat[#flat + 1] = me; flat[#flat + 1] = mine end
    return #flat > 0 and cmsgpack.pack(flat) or nil
end

local function save_permits(me)
    local set = {}
    for name, s in pairs(holders) do
        if s.mine > s.was then
            set[#set + 1] = name
            set[#set + 1] = pack_holders(s.holders, me, s.mine)
            if is_there(ASKING) then call('HDEL', P .. 'ask:' .. name, me) end
        end
    end
    for i = 1, #set, 2000 do call('HSET', PERMITS, unpack(set, i, math.min(i + 1999, #set))) end
end

local function keep_permits(keep, me, notes)  -- gives back all but so many -> of how many names that others ask for
    local names, missed, set, gone = {}, 0, {}, {}
    for name in pairs(keep) do names[#names + 1] = name end
    if #names == 0 or not is_there(PERMITS) then return 0 end
    for i, raw in ipairs(call('HMGET', PERMITS, unpack(names))) do
        local name = names[i]
        local n = keep[name]
        fetched[PERMITS][name] = raw
        local holders = n == 0 and raw == alone(me, 1) and {[me] = 1} or holders_of(name)
        if n < (holders[me] or 0) then
            holders[me] = nil
            local packed = pack_holders(holders, me, n)
            if packed then set[#set + 1] = name; set[#set + 1] = packed else gone[#gone + 1] = name end
            fetched[PERMITS][name] = packed or false
            if is_there(ASKING) and call('ZSCORE', ASKING, name) then missed = missed + 1 end
        end
        if notes[name] and n <= notes[name] then notes[name] = nil end
    end
    if #set > 0 then call('HSET', PERMITS, unpack(set)) end
    if #gone > 0 then call('HDEL', PERMITS, unpack(gone)) end
    return missed
end
