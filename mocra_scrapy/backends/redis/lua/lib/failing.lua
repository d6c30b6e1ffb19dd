-- uses: meta throttle hold circuits stalled
-- Slots that fail, from the first failure to the next success. Stored packed: {attempts: failed ones, one after the other;
-- clock: ms in which some were allowed; told: ms when one failed last; counted: ms when one was last counted; over: ms when
-- the wait ends that the site asked for; waits: attempts that failed behind such a wait; is_idle: whether nothing of it was
-- stored when it last failed}.
local failing = (function()
    local call, text, now = redis.call, meta.text, meta.now
    local KEY, AT = meta.prefix .. 'stall', meta.prefix .. 'stall:at'
    local REMEMBER, MANY = 604800000, 100000  -- ms for which one is remembered; slots, beyond these the oldest go

    local function look_up(slot)  -- or nil
        local packed = call('HGET', KEY, slot)
        return packed and cmsgpack.unpack(packed)
    end

    local function keep(slot, known)
        call('HSET', KEY, slot, cmsgpack.pack(known))
        call('ZADD', AT, text(known.told), slot)
    end

    local function forget(slot)
        call('HDEL', KEY, slot)
        call('ZREM', AT, slot)
    end

    local function expire()  -- a limited number a call; with the last one the keys go by themselves
        local old = call('ZRANGEBYSCORE', AT, '-inf', text(now - REMEMBER), 'LIMIT', 0, 32)
        if #old == 0 and call('ZCARD', AT) > MANY then old = call('ZRANGE', AT, 0, 31) end
        for _, slot in ipairs(old) do forget(slot) end
        call('PEXPIRE', KEY, REMEMBER)
        call('PEXPIRE', AT, REMEMBER)
    end

    local function resumed(slot)  -- a pause is over: nobody could try meanwhile
        local known = look_up(slot)
        if known then
            known.told = now
            keep(slot, known)
        end
    end

    local function give_up(slot, why)  -- its circuit, too: should it be opened again, it begins anew
        local circuit = circuits.look_up(slot)
        local held = tonumber(call('ZSCORE', throttle.HOLD, slot) or nil)
        if circuit.held_until > 0 and held == circuit.held_until * 1000 then hold.lift(slot) end  -- any other is the site's
        circuits.drop(slot)
        local change = throttle.change_of(slot)
        change.trying_until = nil
        throttle.set_change(slot, change)
        forget(slot)
        stalled.add(slot, why)
        hold.reschedule(slot)
    end

    return {KEY = KEY, look_up = look_up, keep = keep, forget = forget, expire = expire, resumed = resumed, give_up = give_up}
end)()
