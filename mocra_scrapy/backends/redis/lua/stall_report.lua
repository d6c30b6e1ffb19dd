-- uses: meta throttle quotas hold stalled failing
-- ARGV[1], packed: a map with throttled: 1 when all that is in flight has permits, channel, longest: ms,
-- attempts; told: {slot, 1 when they failed, ms of age of the youngest, ms of a wait that the site asked for, ms for which the
-- worker could have tried, why} each -> {slot, attempts, ms, why} of those that are given up, packed
local now, asked = meta.now, cmsgpack.unpack(ARGV[1])
hold.announce_on(asked.channel)

local function is_idle(slot)  -- as far as can be told without a search: what is delayed may be of it
    local call, prefix = redis.call, meta.prefix
    if call('ZSCORE', prefix .. 'ready', slot) or call('ZCARD', prefix .. 'delayed') > 0 then return false end
    if asked.throttled == 1 then return call('HEXISTS', throttle.PERMITS, slot) == 0 end
    return meta.leased == 0 and meta.pending == 0
end

local function counted(known, age, wait, working)  -- one more report of failures
    local departed, is_doubted = now - age, known.waits >= asked.attempts
    local start = is_doubted and known.told or math.max(known.told, known.over)
    start = math.max(start, now - working, known.is_idle and departed or 0)
    known.clock = known.clock + math.max(0, now - start)
    if departed >= known.counted and (departed >= known.over or is_doubted) then
        known.attempts = known.attempts + 1
        if known.over > known.counted then known.waits = known.waits + 1 end
        known.counted = now
    end
    known.told, known.over = now, math.max(known.over, now + wait)
end

local function quota_wait(slot)  -- ms until a quota that is used up opens: nobody can try until then
    local limits, wait = throttle.limit_of(slot).quotas, 0
    for _, state in ipairs(limits and quotas.states(slot, limits) or {}) do wait = math.max(wait, state[2] / 1000) end
    return wait
end

local function failed(slot, age, wait, working, why)  -- -> what is told of a slot that is given up
    local known = failing.look_up(slot)
    wait = math.max(wait, quota_wait(slot))
    if known then counted(known, age, wait, working)
    else
        known = {attempts = 1, clock = math.min(age, working), told = now, counted = now, over = now + wait, waits = 0}
    end
    known.is_idle = is_idle(slot)
    if asked.longest > 0 and known.clock >= asked.longest and known.attempts >= asked.attempts then
        why = string.format('%d attempts in a row failed, %.0f s in which some were allowed, the last one: %s',
            known.attempts, known.clock / 1000, why)
        failing.give_up(slot, why)
        return {slot, known.attempts, known.clock, why}
    end
    failing.keep(slot, known)
    return nil
end

local out, is_known = {}, redis.call('EXISTS', failing.KEY, stalled.KEY) > 0  -- whether a success changes anything
if meta.run == 0 then return cmsgpack.pack(out) end
for _, one in ipairs(asked.told) do
    local slot, is_failed, age, wait, working, why = unpack(one)
    if is_failed == 0 and is_known then
        failing.forget(slot)
        stalled.open_again(slot)
    elseif is_failed == 1 and not stalled.why_of(slot) then out[#out + 1] = failed(slot, age, wait, working, why) end
end
failing.expire()
return cmsgpack.pack(out)
