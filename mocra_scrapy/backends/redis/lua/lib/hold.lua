-- uses: meta workers turns throttle departures mailbox permits
-- Holds of slots and scopes, and what a changed limit means to those who wait. Scripts say first who hears of it:
-- hold.announce_on(channel).
local hold = (function()
    local call, text, now_us = redis.call, meta.text, meta.now_us
    local WAITING, HOLD, TAT = workers.WAITING, throttle.HOLD, throttle.TAT
    local IDLE = 604800000  -- ms for which what was told between two runs waits for the next one
    local FOREVER = 3.2e13  -- us; a thousand years fit into a double's exact numbers
    local channel

    local function announce_on(name) channel = name end

    local function wake(names)
        if #names > 0 then redis.pcall('PUBLISH', channel, table.concat(names, '\n')) end  -- it may be lost
    end

    local function tell_holders(name, until_us)  -- those that have something of it: nothing departs before
        local names = {}
        for worker in pairs(permits.holders_of(name)) do
            names[#names + 1] = worker
            local mail = mailbox.of(worker)
            mail.holds[name] = until_us
            mailbox.send(worker, mail)
        end
        wake(names)
    end

    local function reschedule(name)  -- its limit changed: what waits for it is looked at again, by those who found nothing
        turns.look_again({name})
        local waiting = call('ZRANGE', WAITING, 0, 99)
        if #waiting > 0 then call('ZREM', WAITING, unpack(waiting)) end
        wake(waiting)
    end

    local function place(name, at)  -- us; huge: until resumed. It never shortens another hold -> until when it is held
        call('ZADD', HOLD, 'GT', text(at), name)
        local til = tonumber(call('ZSCORE', HOLD, name))
        if at < math.huge then
            departures.push(name, at)
            departures.save()
        end
        tell_holders(name, math.min(til, now_us + FOREVER))
        return til
    end

    local function lift(name)
        departures.take_back_push(name)
        departures.save()
        call('ZREM', HOLD, name)
        tell_holders(name, now_us)
    end

    -- What was told between two runs waits for the next one: nobody else may come to clean up. A run keeps these keys
    -- without a limit (join.lua); its end may leave one that is too short for what is told now (finish_tidy.lua).
    local function keep_between_runs()
        local is_over = meta.run == 0
        for _, key in ipairs({HOLD, TAT, throttle.LIVE, throttle.ORIGINS}) do
            local left = call('PTTL', key)
            if (is_over and left == -1) or (left >= 0 and left < IDLE) then call('PEXPIRE', key, IDLE) end
        end
    end

    return {
        announce_on = announce_on, wake = wake, reschedule = reschedule, place = place, lift = lift,
        keep_between_runs = keep_between_runs,
    }
end)()
