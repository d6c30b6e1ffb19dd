-- Put behind the prelude in scripts that know limits: exchange, limiter. A name is a slot, or a scope ('@…'). A list of entries (what the
-- prelude calls a slot) is named by its slot and, behind '\31' each, its scopes: the limits of all of them count.
--
-- GCRA: tat is when the next departure would be on time without any burst. A departure at d is early enough if d >= tat - (burst - 1) *
-- interval; it moves tat to max(d, tat) + interval. Departures are booked up to `lookahead` ahead, so a fast list is served in batches.
local LIMITS, LIVE, TAT, HOLD, ASKING = P .. 'limits', P .. 'live', P .. 'tat', P .. 'hold', P .. 'asking'
local MANY = 1000000  -- places of what has no limit of concurrency
local ASKED = 5000  -- ms after which a worker that found no place no longer counts, unless it comes again
local D  -- the crawl's default limit: {interval us, burst, concurrency, jitter}

local there, in_force, tats, moved, seats = {}, {}, {}, {}, {}

local function is_there(key)  -- asked once a call: most crawls have no special limits at all
    if there[key] == nil then there[key] = call('EXISTS', key) == 1 end
    return there[key]
end

local function names_of(list)
    if not string.find(list, '\31', 1, true) then return {list} end
    local out = {}
    for name in string.gmatch(list .. '\31', '(.-)\31') do out[#out + 1] = name end
    return out
end

local function limit_of(name)
    local l = in_force[name]
    if l then return l end
    local set = is_there(LIMITS) and call('HGET', LIMITS, name)
    if set then l = cmsgpack.unpack(set)
    elseif string.byte(name) == 64 then l = {0, 1, 0, 0}
    else l = {D[1], D[2], D[3], D[4]} end
    local live = is_there(LIVE) and call('HGET', LIVE, name)
    if live then
        local v = cmsgpack.unpack(live)
        for i = 1, 3 do
            if v[i] >= 0 then l[i] = v[i] end
        end
        local left = v[4] > 0 and v[4] * (1 - v[6]) ^ ((now - v[5]) / 60000) or 0
        if left > math.max(l[1], v[7] / 2) then l[1], l[2], l[5] = left, 1, v[5] end
    end
    in_force[name] = l
    return l
end

local function set_limits(told)  -- {name, interval us, burst, concurrency, jitter} each
    for _, t in ipairs(told) do
        call('HSET', LIMITS, t[1], cmsgpack.pack({t[2], t[3], t[4], t[5]}))
        there[LIMITS], in_force[t[1]] = true, nil
    end
end

-- ---------------------------------------------------------------- departures, in us

local function tat_of(name)
    if tats[name] == nil then tats[name] = is_there(TAT) and tonumber(call('ZSCORE', TAT, name) or 0) or 0 end
    return tats[name]
end

local function departure(names)  -- the earliest instant for one more; math.huge while one of them is paused
    local at = now_us
    for _, name in ipairs(names) do
        local held = is_there(HOLD) and call('ZSCORE', HOLD, name)
        if held then at = math.max(at, tonumber(held)) end
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
    for name in pairs(moved) do call('ZADD', TAT, text(tats[name]), name) end
    for _, key in ipairs({TAT, HOLD}) do  -- what is over is of no more use
        if next(moved) and is_there(key) then
            local old = call('ZRANGEBYSCORE', key, '-inf', text(now_us), 'LIMIT', 0, 16)
            if #old > 0 then call('ZREM', key, unpack(old)) end
        end
    end
end

-- ---------------------------------------------------------------- places

local function seats_of(name, me)
    local s = seats[name]
    if s then return s end
    s = {mine = 0, total = 0, holders = {}, asking = 0, parties = 1}
    local flat = call('HGETALL', P .. 'pl:' .. name)
    for i = 1, #flat, 2 do
        local n = tonumber(flat[i + 1])
        s.total = s.total + n
        if flat[i] == me then s.mine = n else s.holders[flat[i]] = n; s.parties = s.parties + 1 end
    end
    s.was = s.mine
    if is_there(ASKING) and call('ZSCORE', ASKING, name) then
        flat = call('HGETALL', P .. 'ask:' .. name)
        for i = 1, #flat, 2 do
            if flat[i] ~= me and now - tonumber(flat[i + 1]) < ASKED then
                s.asking = s.asking + 1
                if not s.holders[flat[i]] then s.parties = s.parties + 1 end
            end
        end
    end
    seats[name] = s
    return s
end

local function share(name, me)  -- places that it may have now, its fair share
    local s, concurrency = seats_of(name, me), limit_of(name)[3]
    if concurrency == 0 then concurrency = MANY end
    local fair = math.max(1, math.floor(concurrency / s.parties))
    local cap = s.mine + math.max(0, concurrency - s.total)
    if s.asking > 0 then cap = math.max(s.mine, math.min(cap, fair)) end
    return cap, fair
end

local function notes_of(worker)  -- {name -> places to come down to}, {name -> us until when nothing departs}
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
    for holder, n in pairs(seats_of(name, me).holders) do
        if n > fair then
            local notes, holds = notes_of(holder)
            notes[name] = fair
            note(holder, notes, holds)
        end
    end
end

local function room_for(names, me, loads)  -- how many entries it may have more; and, when none for want of places, the name
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

local function sit(names, me, loads)
    for _, name in ipairs(names) do
        local s, cap = seats_of(name, me), share(name, me)
        local wanted = math.min(cap, loads[name] or 0)
        if wanted > s.mine then
            s.total, s.mine = s.total + wanted - s.mine, wanted
        end
    end
end

local function save_places(me, fields)  -- fields: of the worker's own hash, so that whoever cleans up after it finds its places
    for name, s in pairs(seats) do
        if s.mine > s.was then
            call('HSET', P .. 'pl:' .. name, me, s.mine)
            if is_there(ASKING) then call('HDEL', P .. 'ask:' .. name, me) end
            fields[#fields + 1] = '+' .. name
            fields[#fields + 1] = s.mine
        end
    end
end

local function keep_places(keep, me, notes)  -- gives back all but so many -> of how many names that others ask for
    local missed = 0
    for name, n in pairs(keep) do
        local have = tonumber(call('HGET', P .. 'pl:' .. name, me) or 0)
        if n < have then
            if n > 0 then
                call('HSET', P .. 'pl:' .. name, me, n)
                call('HSET', held_by(me), '+' .. name, n)
            else
                call('HDEL', P .. 'pl:' .. name, me)
                call('HDEL', held_by(me), '+' .. name)
            end
            if is_there(ASKING) and call('ZSCORE', ASKING, name) then missed = missed + 1 end
        end
        if notes[name] and n <= notes[name] then notes[name] = nil end
    end
    return missed
end
