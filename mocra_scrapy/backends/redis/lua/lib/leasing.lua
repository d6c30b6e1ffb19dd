-- uses: journal meta items workers throttle permits leases stalled
-- What is leased, in which order: leasing.suspect(asked), then leasing.with_limits(asked) or leasing.without_limits(asked).
-- asked is the argument of exchange.lua.
local leasing = (function()
    local call, text, now_us = redis.call, meta.text, meta.now_us
    local READY, SUSPECT = meta.prefix .. 'ready', workers.SUSPECT
    local departs, crowded = {}, {}  -- us when each lease departs, where any waits; see Exchange.crowded
    local passed_over, given = {}, {}  -- names of which nothing more is leased; slot -> leases, where per_slot counts
    local skipped = 0  -- slots passed over that may stand in front in ready

    local function pass_over(slot)
        if not passed_over[slot] then passed_over[slot], skipped = true, skipped + 1 end
    end

    local function next_slots(asked, in_front)  -- whose turn it is; in_front: how many of those are of no use
        return call('ZRANGEBYSCORE', READY, '-inf', text(now_us), 'LIMIT', 0, asked.want - leases.count + in_front)
    end

    -- ------------------------------------------------------------ where slots have limits

    local function depart(names)  -- books one departure, for the lease that comes next
        local at = throttle.departure(names)
        throttle.book(names, at)
        for i = #departs + 1, leases.count do departs[i] = 0 end  -- those before it go at once
        departs[leases.count + 1] = at
    end

    local departing  -- names of the list that is served

    local function depart_and_add(slot, rank, item)
        depart(departing)
        leases.add(slot, rank, item)
    end

    local function count_in(asked, names, n)
        for _, name in ipairs(names) do asked.loads[name] = (asked.loads[name] or 0) + n end
        permits.grant(names, asked.worker, asked.loads)
    end

    -- How many entries of a list this worker may have now, and when the next one departs.
    local function allowed(asked, names, most)
        for _, name in ipairs(names) do
            if passed_over[name] then return 0, now_us end
        end
        local at = throttle.departure(names)
        if at > now_us + asked.lookahead then return 0, at end
        local room, crowd = permits.room_for(names, asked.worker, asked.loads)
        if crowd then
            passed_over[crowd] = true
            crowded[#crowded + 1] = crowd
        end
        return math.min(room, most), at
    end

    local function serve(asked, list, most)  -- -> whether it gave something
        if stalled.takes(list, asked) then return false end
        local names, horizon = throttle.names_of(list), now_us + asked.lookahead
        local is_paced, n, at = throttle.is_paced(names), allowed(asked, names, most)
        if n > 0 and is_paced then n = throttle.fits(names, n, horizon) end
        if n > 0 then
            departing = names
            local got = items.take(list, n, is_paced and depart_and_add or leases.add)
            count_in(asked, names, got)
            if is_paced then at = throttle.departure(names) end
        end
        if at > horizon then call('ZADD', READY, 'XX', text(at - asked.lookahead), list) end
        return n > 0
    end

    local function with_limits(asked)
        local closed, shut = {}, 0  -- lists that gave nothing
        -- Slots that are full or held for this worker give nothing, and may stand in front of all others: so many are
        -- looked at beside those that are wanted, and the rest in the next call. It bounds the work of one.
        local looks = asked.want + 200
        while leases.count < asked.want and looks > 0 and not items.is_full() do
            local lists, unknown = {}, {}
            for _, list in ipairs(next_slots(asked, shut)) do
                if not closed[list] then
                    lists[#lists + 1] = list
                    for _, name in ipairs(throttle.names_of(list)) do
                        if not permits.is_known(name) then unknown[#unknown + 1] = name end
                    end
                end
            end
            if #lists == 0 then break end
            throttle.fetch(unknown)
            looks = looks - #lists
            local quantum = math.ceil((asked.want - leases.count) / #lists)
            for _, list in ipairs(lists) do
                local left = asked.want - leases.count
                if left > 0 and not items.is_full() and not serve(asked, list, math.min(quantum, left)) then
                    closed[list], shut = true, shut + 1
                end
            end
        end
        throttle.save_departures()
        permits.save(asked.worker)
        if #departs > 0 then
            for i = #departs + 1, leases.count do departs[i] = 0 end
        end
    end

    -- ------------------------------------------------------------ where they have none

    local function without_limits(asked)
        while leases.count < asked.want do
            local slots, before = {}, leases.count
            for _, slot in ipairs(next_slots(asked, skipped)) do
                if not passed_over[slot] then slots[#slots + 1] = slot end
            end
            local quantum = math.ceil((asked.want - before) / #slots)
            for _, slot in ipairs(slots) do
                local n = math.min(quantum, asked.want - leases.count)
                if stalled.takes(slot, asked) then
                    pass_over(slot)
                    n = 0
                end
                if asked.per_slot > 0 then
                    n = math.min(n, asked.per_slot - (given[slot] or 0))
                    given[slot] = (given[slot] or 0) + n
                    if given[slot] >= asked.per_slot then pass_over(slot) end
                end
                if n > 0 then items.take(slot, n, leases.add) end
            end
            if leases.count == before then return end
        end
    end

    -- ------------------------------------------------------------ suspects: one a worker, so that it is found out

    local function suspect(asked)
        local placed = call('LINDEX', SUSPECT, 0)
        if not placed then return end
        local rank, slot, item = items.unplace(placed)
        local names, is_given_up = asked.throttled and throttle.names_of(slot), stalled.why_of(slot)
        if not is_given_up and (passed_over[slot] or (names and (allowed(asked, names, 1)) == 0)) then
            call('LMOVE', SUSPECT, SUSPECT, 'LEFT', 'RIGHT')
            return
        end
        call('LPOP', SUSPECT)
        journal.note('LPUSH', SUSPECT, placed)
        meta.pending = math.max(0, meta.pending - 1)
        if is_given_up then
            stalled.bury(rank, slot, item, asked)
            return
        end
        items.spend(item)
        if names then
            depart(names)
            count_in(asked, names, 1)
        end
        leases.set('suspect', leases.add(slot, rank, item))
        given[slot] = 1
        if asked.per_slot == 1 then pass_over(slot) end
    end

    local function begin(asked)
        asked.loads, asked.per_slot = asked.loads or {}, asked.per_slot or 0
        for _, slot in ipairs(asked.full or {}) do pass_over(slot) end
    end

    return {
        departs = departs, crowded = crowded, begin = begin, suspect = suspect, with_limits = with_limits,
        without_limits = without_limits,
    }
end)()
