-- uses: lazy meta turns throttle quotas departures permits leases leasing items
-- What is leased where slots have limits, and in which order.
--
-- A list from which nothing may depart is put to where it waits for the name that keeps it, see turns.lua. So one call looks
-- at as many lists as it takes from, and LOOKS at most of those that have to be put away; the next call, at once, at more.
local limited = lazy.library(function()
    local text, missing = meta.text, leasing.missing
    local LOOKS = 200
    local SATED = 16  -- so many of which this worker has its share may stand in line: it comes back to them soon
    local ASK, MOST_ASKED = 500, 100  -- ms between two rounds of asking for permits; names in one of them
    local names_of, is_free, now_us, passed_over, departs, crowded, sated, moved
    local closed  -- of ready: those that were looked at and stay where they are
    local blocked  -- names of which nobody gets anything now -> score of what waits for them
    local next_at  -- when one more departs of the names that were allowed last, until one does
    local departing  -- names of the list that is served
    local parked  -- list that gave something -> its name if it was parked
    local are_many, some_stay  -- lists of this round; whether any that gave something may give more at once
    local heads_passed  -- name -> those behind its gate that gave this worker nothing

    local function close(member) closed[member], leasing.skipped = true, leasing.skipped + 1 end

    local function depart(names)  -- books one departure, for the lease that comes next
        for i = #departs + 1, leases.count do departs[i] = 0 end  -- those before it go at once
        departs[leases.count + 1] = departures.book(names, next_at)
        next_at = nil
    end

    local function held_until(name, at)  -- when what waits for the name is looked at, if nothing departs before `at`
        return throttle.limit_of(name).quotas and quotas.held_until(at) or at
    end

    local function depart_and_add(slot, rank, item)
        if leasing.withdraw(slot, item) then return false end
        depart(departing)
        leases.add(slot, rank, item)
        return true
    end

    local function count_in(asked, names, n)
        local loads = asked.loads
        for i = 1, #names do loads[names[i]] = (loads[names[i]] or 0) + n end
        permits.grant(names, asked.worker, asked.loads)
    end

    -- How many entries of a list this worker may have now, and the name for which it has to wait if none for anybody.
    -- is_plan: see departures.fits.
    local function allowed(asked, names, most, is_paced, is_plan)
        for _, name in ipairs(names) do
            if blocked[name] then return 0, name end
            if passed_over[name] then return 0 end
        end
        local horizon, at, last = now_us + asked.lookahead, nil, nil
        if is_paced or not is_free(names) then
            at, last = departures.departure(names)
            if at > horizon then
                blocked[last] = held_until(last, at - asked.lookahead)
                return 0, last
            end
        end
        local room, crowd, taken = permits.room_for(names, asked.worker, asked.loads)
        if crowd then
            passed_over[crowd] = true
            crowded[#crowded + 1] = crowd
        end
        if taken and not crowd then
            sated = sated + 1
            if sated <= SATED then return 0 end
        end
        if taken then
            blocked[taken] = turns.parked_now()
            return 0, taken
        end
        if room < most then most = room end
        next_at = at
        if most > 1 and is_paced then return departures.fits(names, most, horizon, is_plan) end
        return most
    end

    local function score_of(asked, names, is_parked)  -- in ready, of what waits for one name that has just been served
        local name = names[1]
        local at = is_free(names) and now_us or departures.departure(names)
        if at > now_us + asked.lookahead then return held_until(name, at - asked.lookahead) end
        return is_parked and permits.is_taken(name, asked.worker) and turns.parked_now() or now_us
    end

    local function wait_for(list, since, gate, name)
        moved = moved + 1
        if name == list then turns.place(list, blocked[name])
        elseif name == gate then turns.place(turns.gate_of(gate), blocked[name])
        else turns.move(list, since, gate, name, blocked[name]) end
    end

    local function place_again(asked, list, is_spent)
        local names = names_of(list)
        local score = names[2] and now_us or score_of(asked, names, parked[list])
        some_stay = some_stay or (score <= now_us and not is_spent)
        turns.place_later(list, score)
    end

    local function end_round(asked)
        if are_many then
            local more, empty = items.find_out()
            turns.remove_all(empty)
            for _, list in ipairs(more) do place_again(asked, list) end
        end
        turns.place_all()
    end

    -- gate: the name behind whose gate it stands, or nil. -> whether it gave something; whether it stays where it is
    local function serve(asked, list, since, gate, most, is_parked)
        local is_given_up, some_left
        if leasing.any_stalled then is_given_up, some_left = leasing.take_stalled(list, asked) end
        if is_given_up then
            if not some_left then turns.leave(list, since, gate) end
            return false, some_left
        end
        local names = names_of(list)
        local is_paced = throttle.is_paced(names)
        if is_paced and #names > 1 then most = 1 end  -- what others under the same scope may have next is not all this list's
        local n, name = allowed(asked, names, most, is_paced, true)
        if n == 0 then
            if name then wait_for(list, since, gate, name) end
            return false, not name
        end
        departing = names
        local got, has_more = items.take(list, n, is_paced and depart_and_add or leasing.add, are_many and not gate)
        if is_paced then departures.end_plan() end
        count_in(asked, names, got)
        if has_more == false and not gate then turns.remove(list)
        elseif has_more == false then turns.leave(list, since, gate)
        elseif got == 0 then return false, true  -- it keeps its turn
        elseif not gate then
            parked[list] = is_parked
            -- Of the only list that gave less than was asked of it there is no more now, and nobody to ask for it.
            local is_spent = has_more and not are_many and got == n and n < most and permits.is_alone(names)
            if has_more then place_again(asked, list, is_spent) end  -- else it is not known, see end_round
        elseif score_of(asked, {gate}, true) ~= now_us then turns.served(list, gate)
        else turns.step_out(list, since, gate) end
        return got > 0, false
    end

    local function fetch(lists)  -- all that is stored of their names
        local unknown = {}
        for _, list in ipairs(lists) do
            for _, name in ipairs(names_of(list)) do
                if not permits.is_known(name) then unknown[#unknown + 1] = name end
            end
        end
        throttle.fetch(unknown)
    end

    local function serve_gate(asked, name, most)  -- -> looks
        local gate = turns.gate_of(name)
        fetch({name})
        local is_paced = throttle.is_paced({name})
        local n, waits = allowed(asked, {name}, most, is_paced)
        local is_given_up = leasing.why_stalled(name)
        if is_given_up then n = most end  -- its lists don't depart, they are buried
        if n == 0 then
            if waits then turns.place(gate, blocked[name]) else close(gate) end
            return 1
        end
        local some, lists = turns.heads(name, heads_passed[name] or 0, n), {}
        for i = 1, #some, 2 do lists[#lists + 1] = some[i] end
        if #lists == 0 then
            if heads_passed[name] then close(gate) else turns.remove(gate) end  -- else its lists were deleted
            return 1
        end
        fetch(lists)
        local has_served, each = false, is_paced and 1 or math.ceil(n / #lists)
        for i, list in ipairs(lists) do
            local left = missing(asked)
            if left <= 0 or (blocked[name] and not is_given_up) then break end
            local gave, stays = serve(asked, list, tonumber(some[2 * i]), name, math.min(each, left))
            if stays then heads_passed[name] = (heads_passed[name] or 0) + 1 end
            has_served = has_served or gave
        end
        if blocked[name] then turns.place(gate, blocked[name])
        elseif has_served then turns.place(gate, score_of(asked, {name}, true)) end
        return #lists
    end

    local function own_parked(asked)  -- what this worker may have more of, as it holds permits of it
        local loaded, names, found = {}, {}, {}
        for name, n in pairs(asked.loads) do
            if n > 0 then loaded[#loaded + 1] = name end
        end
        local all = turns.parked_of(loaded)
        for i, one in ipairs(all) do names[i] = one[3] end
        fetch(names)
        for _, one in ipairs(all) do
            if permits.room_for({one[3]}, asked.worker, asked.loads, true) > 0 then found[#found + 1] = one end
        end
        return found
    end

    -- {list or gate, since when it waits, its name if it is parked, the gate's name} each, in order; whether nobody else
    -- stands in line
    local function next_ones(asked, more)
        local most = missing(asked) + leasing.skipped
        local some, line = {}, turns.line(most)
        for i = 1, #line, 2 do
            local member = line[i]
            if not closed[member] then some[#some + 1] = {member, tonumber(line[i + 1]), nil, turns.name_of_gate(member)} end
        end
        if #more > 0 then
            for _, one in ipairs(more) do some[#some + 1] = one end
            table.sort(some, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1]) end)
        end
        return some, #line < 2 * most
    end

    local function ask(asked)  -- for permits of what is parked; whoever sees that there are some opens it for all
        if meta.now - asked.asked_at < ASK then return end
        leases.set('asked', text(meta.now))
        local names = {}
        for _, name in ipairs(turns.some_parked(MOST_ASKED)) do
            local is_mine = (asked.loads[name] or 0) > 0
            if not (is_mine or blocked[name] or passed_over[name]) then names[#names + 1] = name end
        end
        fetch(names)
        local free = {}
        for _, name in ipairs(names) do
            local room, crowd = permits.room_for({name}, asked.worker, asked.loads)
            if crowd then crowded[#crowded + 1] = crowd elseif room > 0 then free[#free + 1] = name end
        end
        if turns.open(free) > 0 then leasing.more = true end
    end

    local function lease(asked)
        local first_parked = turns.first_parked()
        local is_any_parked = first_parked ~= nil
        leasing.more = is_any_parked and turns.release(first_parked)
        local own, looks = is_any_parked and own_parked(asked) or {}, asked.want + LOOKS
        while missing(asked) > 0 and looks > 0 do
            local some, are_all = next_ones(asked, own)
            local lists = {}
            own, some_stay = {}, false
            if #some == 0 then break end
            local count = math.min(#some, missing(asked))
            for i = 1, count do
                if not some[i][4] then lists[#lists + 1] = some[i][1] end
            end
            fetch(lists)
            are_many = #lists > 1
            if are_many then items.expect(lists) end
            local quantum = math.ceil(missing(asked) / count)
            for i = 1, count do
                local one = some[i]
                local member, since, is_parked, gate = one[1], one[2], one[3], one[4]
                local left = missing(asked)
                if left <= 0 then break end
                if gate then
                    looks, some_stay = looks - serve_gate(asked, gate, math.min(quantum, left)), true
                else
                    looks = looks - 1
                    local _, stays = serve(asked, member, since, nil, math.min(quantum, left), is_parked)
                    if stays then close(member) end
                end
            end
            end_round(asked)
            if are_all and count == #some and not some_stay then break end
        end
        if missing(asked) > 0 then
            if looks <= 0 and moved + leasing.withdrawn() > 0 then leasing.more = true end
            if is_any_parked then ask(asked) end
        end
        if lazy.is_made(departures) then departures.save() end
        permits.save(asked.worker)
        if #departs > 0 then
            for i = #departs + 1, leases.count do departs[i] = 0 end
        end
    end

    local function fresh()
        names_of, is_free = throttle.names_of, throttle.is_free
        now_us, passed_over, departs, crowded = meta.now_us, leasing.passed_over, leasing.departs, leasing.crowded
        sated, moved, closed, blocked, parked, heads_passed = 0, 0, {}, {}, {}, {}
        next_at, departing, are_many, some_stay = nil, nil, nil, nil
    end

    return {allowed = allowed, depart = depart, count_in = count_in, lease = lease}, fresh
end)
