-- Put behind _throttle.lua in scripts that hold slots and change limits: limiter, breaker.
local CHANNEL  -- of wake-ups; the script says which
local BR, BR_AT = P .. 'br', P .. 'br:at'
local IDLE = 604800000  -- ms for which what was told between two runs waits for the next one

local function wake(names)
    if #names > 0 then call('PUBLISH', CHANNEL, table.concat(names, '\n')) end
end

local function tell(name, until_us)  -- those that have something of it: nothing departs before
    local names = {}
    for worker in pairs(holders_of(name)) do
        names[#names + 1] = worker
        local notes, holds = notes_of(worker)
        holds[name] = until_us
        note(worker, notes, holds)
    end
    wake(names)
end

local function stir(name)  -- its limit changed: its lists are looked at again, by those who found nothing
    if string.byte(name) == 64 then
        -- Lists of a scope are not known by it: all that wait are looked at, a limited number a time, the rest when their time comes.
        for _, list in ipairs(call('ZRANGEBYSCORE', READY, '(' .. text(now_us), '+inf', 'LIMIT', 0, 1000)) do
            if string.find(list, '\31' .. name, 1, true) then call('ZADD', READY, 'XX', text(now_us), list) end
        end
    else
        call('ZADD', READY, 'XX', text(now_us), name)
        for _, list in ipairs(call('ZRANGEBYSCORE', READY, '(' .. text(now_us), '+inf', 'LIMIT', 0, 1000)) do
            if string.sub(list, 1, #name + 1) == name .. '\31' then call('ZADD', READY, 'XX', text(now_us), list) end
        end
    end
    local waiting = call('ZRANGE', WAITING, 0, 99)
    if #waiting > 0 then call('ZREM', WAITING, unpack(waiting)) end
    wake(waiting)
end

local function hold_until(name, at)  -- us; huge: until resumed. It never shortens another hold
    call('ZADD', HOLD, 'GT', text(at), name)
    if at < math.huge then
        local l = limit_of(name)
        call('ZADD', TAT, 'GT', text(at + (l[2] - 1) * l[1]), name)  -- and after that no burst
    end
    tell(name, math.min(tonumber(call('ZSCORE', HOLD, name)), now_us + 3.2e13))
end

-- What was told between two runs waits for the next one: nobody else may come to clean up. A run keeps these keys without a limit (join);
-- its end may leave one that is too short for what is told now (finish).
local function keep_between_runs()
    local over = M.run == 0
    for _, key in ipairs({HOLD, TAT, LIVE, LIMITS}) do
        local left = call('PTTL', key)
        if (over and left == -1) or (left >= 0 and left < IDLE) then call('PEXPIRE', key, IDLE) end
    end
end

local function set_live(name, v)
    if v[1] < 0 and v[2] < 0 and v[3] < 0 and v[4] == 0 and (v[8] or 0) <= now then call('HDEL', LIVE, name)
    else call('HSET', LIVE, name, cmsgpack.pack(v)) end
    there[LIVE], in_force[name], fetched[LIVE][name] = nil, nil, nil
end

-- What the breaker knows of a slot: {{part of the window, downloads, failures, {kind -> failures}} each; ms until it is held, 0: closed;
-- openings in a row; probes that went well; ms when it was reset, or nil}
local function circuit(name)
    local packed = call('HGET', BR, name)
    if packed and tonumber(call('ZSCORE', BR_AT, name) or 0) > now then return cmsgpack.unpack(packed), true end
    return {{}, 0, 0, 0}, false
end

local function half_open(name)  -- its hold was ended by hand: what departs from now on tries the site
    local c = circuit(name)
    if c[2] > now then c[2] = now; call('HSET', BR, name, cmsgpack.pack(c)) end
end
