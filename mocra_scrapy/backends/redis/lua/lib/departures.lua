-- uses: lazy journal meta throttle quotas origins
-- When who departs, in us. GCRA: tat is when the next departure would be on time without any burst. A departure at d is early
-- enough if d >= tat - (burst - 1) * interval; it moves tat to max(d, tat) + interval. Departures are booked up to `lookahead`
-- ahead, so a fast list is served in batches.
--
-- A booking is {at, before, end_, before, end_, ..., and 1 where quotas count it}: when it departs, and for each of its names
-- what it owns of its time, from max(at, before) to end_, where before is tat as it was. end_ is 0 where the name has no
-- interval. One that was not used is taken back: the last stretch moves tat back; the others are kept in freed, while they are
-- ahead, as {floor, at, before, end_, ...}, and given whole to who departs when they allow it. Nothing that begins before floor
-- is taken back: tat was set anew since. mocra_scrapy/backends/embedded/freed.py says why.
local departures = lazy.library(function()
    local call, text = redis.call, meta.text
    local MOST_KEPT = 16  -- stretches of a name that are kept; the earliest go first
    local now_us, limit_of, in_force, is_there, TAT, HOLD, FREED, tats, held, origin_of, rows, set_origin, grown, tat_by, seeded
    local moved  -- names whose tat has to be written
    local freed, freed_anew, any_freed  -- name -> see above, or false; names of which it has to be written; whether any is
    local planned  -- {names; bookings; factors: what was drawn for each; used: how many of them; state: before these}
    local departures  -- what it returns

    local function score(scores, key, name)
        local at = scores[name]
        if at == nil then
            at = is_there(key) and tonumber(call('ZSCORE', key, name) or 0) or 0
            scores[name] = at
        end
        return at
    end

    local function freed_of(name)  -- or false
        local row = freed[name]
        if row == nil then
            local packed = throttle.field(FREED, name)
            row = packed and cmsgpack.unpack(packed) or false
            freed[name] = row
        end
        return row
    end

    local function settle(name, at, limit)  -- it is booked at at by this limit -> tat by it, tat as it was
        local origin, tat, span, last = rows[name] or origin_of(name), tats[name] or score(tats, TAT, name), limit.span, 0
        if limit.burst > 1 then
            last = origin[4] > 0 and origin[4] or tat
            if at > last then last = at end
        end
        if span ~= origin[1] or last ~= origin[4] then set_origin(name, span, origin[2], origin[3], last) end
        return tat_by(origin, tat, limit), tat
    end

    local function opens(row, i, earliest, limit)  -- when one may depart with the stretch at i; nil: it is of no use
        local begins = math.max(row[i], row[i + 1])
        local at = math.max(earliest, begins - limit.span)
        if at <= begins and row[i + 2] - begins >= math.floor(limit.interval * (1 - limit.jitter)) then return at end
    end

    local function without(row, i)  -- a copy: fits() keeps the old one
        local out = {}
        for j, value in ipairs(row) do
            if j < i or j > i + 2 then out[#out + 1] = value end
        end
        return out
    end

    local function set_freed(name, row)
        if not freed_anew[name] then
            local was = throttle.field(FREED, name)
            if was then journal.note('HSET', FREED, name, was) else journal.note('HDEL', FREED, name) end
        end
        freed[name], freed_anew[name], any_freed = row, true, true
    end

    local function opening(name, earliest)
        local tat, limit = tats[name] or score(tats, TAT, name), in_force[name] or limit_of(name)
        if limit.quotas then earliest = quotas.opens(name, limit.quotas, earliest) end
        if tat == 0 then return earliest end
        local row = any_freed and freed_of(name)
        local at = tat_by(rows[name] or origin_of(name), tat, limit) - limit.span
        if at < earliest then at = earliest end
        if row then
            for i = 2, #row, 3 do at = math.min(at, opens(row, i, earliest, limit) or at) end
        end
        return at
    end

    -- The earliest instant for one more, math.huge while one of them is paused; the name that it has to wait for, or nil.
    local function departure(names)
        local earliest, last = now_us, nil
        while true do
            local at, waits = earliest, nil
            for _, name in ipairs(names) do
                local hold = held[name] or score(held, HOLD, name)
                local due = opening(name, hold > at and hold or at)
                if due > at then at, waits = due, name end
            end
            -- With a stretch that another name does not have, all are looked at once more.
            if at == earliest or not any_freed then return at, waits or last end
            earliest, last = at, waits
        end
    end

    local function own(name, at, limit, factor)  -- -> before, end_
        local row = any_freed and freed_of(name)
        if row then
            for i = 2, #row, 3 do
                if opens(row, i, at, limit) == at then
                    set_freed(name, without(row, i))
                    return row[i + 1], row[i + 2]
                end
            end
        end
        local before, last = settle(name, at, limit)
        if before < last then set_freed(name, {math.max(row and row[1] or 0, last)}) end  -- later ones own that time
        local end_ = math.floor((at > before and at or before) + limit.interval * (1 + limit.jitter * factor))
        tats[name], moved[name] = end_, true
        return before, end_
    end

    -- One departure -> the booking, and what was drawn for it. factor: this is drawn already.
    local function assign(names, at, is_trial, factor)
        local booking, is_counted
        for i, name in ipairs(names) do
            local limit, before, end_ = in_force[name] or limit_of(name), 0, 0
            if limit.interval > 0 then
                if limit.jitter > 0 and not factor then
                    if not seeded then math.randomseed(now_us % 2147483647); seeded = true end
                    factor = 2 * math.random() - 1
                end
                before, end_ = own(name, at, limit, factor or 0)
            end
            if i == 1 then booking = {at, before, end_} else booking[2 * i], booking[2 * i + 1] = before, end_ end
            if limit.quotas then
                is_counted = 1
                if not is_trial then quotas.count(name, limit.quotas, at) end
            end
        end
        if is_counted then booking[#booking + 1] = 1 end
        return booking, factor
    end

    local function state_of(names)
        local state = {}
        for _, name in ipairs(names) do
            state[name] = {tats[name] or score(tats, TAT, name), any_freed and freed_of(name) or nil, origin_of(name)}
        end
        return state
    end

    local function restore(state)
        for name, was in pairs(state) do
            tats[name], freed[name] = was[1], was[2]
            origins.restore(name, was[3])
        end
    end

    local function book(names, at)  -- one departure, as early as may be where no instant is said -> the booking
        if not planned then return (assign(names, at or departure(names))) end
        planned.used = planned.used + 1
        return planned.bookings[planned.used]
    end

    local function end_plan()  -- what was not used of it was never booked
        local plan = planned
        planned = nil
        if plan and plan.used < #plan.bookings then
            restore(plan.state)
            for i = 1, plan.used do assign(plan.names, plan.bookings[i][1], true, plan.factors[i]) end
        end
    end

    -- How many may depart until then. is_plan: they are booked with it, and book() gives one after the other, until end_plan();
    -- but for those that quotas count, for these say more of each when they know of the one before.
    local function fits(names, most, horizon, is_plan)
        local state, bookings, factors, n = state_of(names), {}, {}, 0
        for _, name in ipairs(names) do
            local limits = limit_of(name).quotas
            if limits then most, is_plan = quotas.room(name, limits, most, horizon), false end
        end
        while n < most do
            local at = departure(names)
            if at > horizon then break end
            n = n + 1
            bookings[n], factors[n] = assign(names, at, true)
        end
        if is_plan and n > 0 then planned = {names = names, bookings = bookings, factors = factors, used = 0, state = state}
        else restore(state) end
        return n
    end

    local function save()
        if lazy.is_made(quotas) then quotas.save() end
        if next(freed_anew) then departures.save_freed() end
        origins.save()
        if not next(moved) then return end
        local args = {}
        for name in pairs(moved) do
            args[#args + 1], args[#args + 2] = text(tats[name]), name
        end
        meta.in_parts('ZADD', TAT, args)
        for _, key in ipairs({TAT, is_there(HOLD) and HOLD or nil}) do  -- what is over is of no more use
            local old = call('ZRANGEBYSCORE', key, '-inf', text(now_us), 'LIMIT', 0, 64)
            if #old > 0 then call('ZREM', key, unpack(old)) end
            if #old > 0 and key == TAT then origins.forget(old) end
        end
    end

    departures = {departure = departure, fits = fits, end_plan = end_plan, save = save, book = book}
    lazy.with_rest(departures, function()  -- of what was booked and is not used, of holds, of limits that changed
        local function free(name, at, before, end_)  -- this stretch, which ends at tat or before, is nobody's
            local tat, row = score(tats, TAT, name), freed_of(name) or {0}
            if end_ < tat then
                if end_ <= now_us then return end
                local out, i = {row[1]}, 2
                while i <= #row and row[i] <= at do i = i + 3 end
                local all = {unpack(row)}
                for j, value in ipairs({at, before, end_}) do table.insert(all, i + j - 1, value) end
                for j = math.max(2, #all - 3 * MOST_KEPT + 1), #all, 3 do
                    if all[j + 2] > now_us then
                        for k = j, j + 2 do out[#out + 1] = all[k] end
                    end
                end
                set_freed(name, out)
                return
            end
            tat = before
            local i = 2
            while i <= #row do
                if row[i + 2] == tat then
                    tat, row, i = row[i + 1], without(row, i), 2
                    set_freed(name, row)
                else i = i + 3 end
            end
            journal.note('ZADD', TAT, text(tats[name]), name)  -- a second time it would be another one's
            tats[name], moved[name] = tat, true
        end

        local function floor_of(name)  -- tat was set anew since what was booked before
            return (freed_of(name) or {0})[1]
        end

        local function take_back(names, booking)  -- it did not depart
            local at = booking[1]
            for i, name in ipairs(names) do
                local before, end_ = booking[2 * i], booking[2 * i + 1]
                local tat = end_ > 0 and score(tats, TAT, name) or 0
                if tat > 0 and end_ <= tat and math.max(at, before) >= floor_of(name) then free(name, at, before, end_) end
                local limits = booking[2 * #names + 2] and limit_of(name).quotas
                if limits then quotas.take_back(name, limits, at) end
            end
        end

        local function set_anew(name, at)  -- tat is at, earlier than it was: what was booked is not taken back
            local tat, row = score(tats, TAT, name), freed_of(name) or {0}
            set_freed(name, {math.max(row[1], tat)})
            tats[name], moved[name] = at, true
        end

        local function push(name, til)  -- a hold: one at a time after it, without a burst
            local origin, tat, span = origin_of(name), score(tats, TAT, name), limit_of(name).span
            local before, pushed = grown(origin, tat, span), til + span
            if pushed > before then
                -- Behind another hold, with nothing booked behind that.
                if tat > 0 and origin[3] == tat then before = grown(origin, origin[2], span) end
                set_origin(name, span, before, pushed, limit_of(name).burst > 1 and til or 0)
                tats[name], moved[name] = pushed, true
            end
        end

        local function take_back_push(name)  -- the hold is lifted
            local span, before, pushed = unpack(origin_of(name))
            if pushed > 0 then set_origin(name, span, 0, 0, 0) end
            if pushed > 0 and pushed <= score(tats, TAT, name) then free(name, 0, before, pushed) end
        end

        -- Another limit is in force. What a longer interval booked must not outlast its change; but what is booked and has not
        -- departed keeps its distance.
        local function keep_distance(name, old)
            local limit, tat, hold = limit_of(name), score(tats, TAT, name), score(held, HOLD, name)
            if tat == 0 then return end
            local origin, span = origin_of(name), limit.span

            local function departs(us, known)  -- nobody who is booked before us departs later
                return math.max(now_us, known > 0 and known or math.floor(us - old.interval * (1 - old.jitter)))
            end

            local function shortened(us, start) return math.min(grown(origin, us, span), start + limit.burst * limit.interval) end

            local departed, start = departs(tat, origin[4]), hold < math.huge and math.max(now_us, hold) or now_us
            local anew = shortened(tat, limit.interval > 0 and math.max(start, departed) or start)
            -- By a longer interval than it was booked with, the last one would seem to depart earlier than it does.
            local is_longer = limit.interval * (1 - limit.jitter) > old.interval * (1 - old.jitter)
            local known = (limit.burst > 1 or (anew >= tat and (is_longer or origin[4] > 0))) and departed or 0
            if anew >= tat then set_origin(name, origin[1], origin[2], origin[3], known); return end
            local before = origin[2] > 0 and shortened(origin[2], departs(origin[2], 0)) or 0
            local is_pushed = origin[3] == tat  -- nothing is booked behind the hold
            set_anew(name, anew)
            if is_pushed then set_origin(name, span, before, anew, known) else set_origin(name, span, 0, 0, known) end
        end

        local function save_freed()
            local set, gone, last = {}, {}, 0
            for name in pairs(freed_anew) do
                local row = freed[name]
                if row and (#row > 1 or row[1] > now_us) then
                    set[#set + 1], set[#set + 2] = name, cmsgpack.pack(row)
                    last = math.max(last, row[1])
                    for i = 4, #row, 3 do last = math.max(last, row[i]) end
                else gone[#gone + 1] = name end
            end
            meta.in_parts('HDEL', FREED, gone)
            if #set == 0 then return end
            meta.in_parts('HSET', FREED, set)
            -- All of it is over by then, also what was there before.
            call('PEXPIRE', FREED, text(math.max(call('PTTL', FREED), math.ceil((last - now_us) / 1000) + 1000)))
        end

        return {
            take_back = take_back, set_anew = set_anew, push = push, take_back_push = take_back_push,
            keep_distance = keep_distance, save_freed = save_freed,
        }
    end)

    local function fresh()
        now_us, limit_of, in_force, is_there = meta.now_us, throttle.limit_of, throttle.in_force, throttle.is_there
        TAT, HOLD, FREED, tats, held = throttle.TAT, throttle.HOLD, throttle.FREED, throttle.tats, throttle.held
        origin_of, rows, set_origin, grown, tat_by = origins.of, origins.rows, origins.set, origins.grown, origins.tat_by
        moved, freed, freed_anew, any_freed, seeded, planned = {}, {}, {}, is_there(FREED), false, nil
    end

    return departures, fresh
end)
