-- uses: lazy meta turns items leases leasing
-- What is leased where slots have no limits: in turn, the same of each.
local unlimited = lazy.library(function()
    local given

    local function next_slots(asked)  -- -> these; whether nobody else stands in line
        local most = leasing.missing(asked) + leasing.skipped
        local slots, line = {}, turns.line(most)
        for i = 1, #line, 2 do
            local gate = turns.name_of_gate(line[i])
            if gate then
                turns.open_gate(gate)
                leasing.more = true
            elseif not leasing.passed_over[line[i]] then slots[#slots + 1] = line[i] end
        end
        return slots, #line < 2 * most
    end

    local function lease(asked)
        if turns.first_parked() then turns.open_all() end
        while leasing.missing(asked) > 0 do
            local slots, are_all = next_slots(asked)
            local before, gone, some_stay = leases.count, leasing.withdrawn(), false
            local are_many = #slots > 1
            if are_many then items.expect(slots) end
            local quantum = math.ceil((asked.want - before) / #slots)
            for _, slot in ipairs(slots) do
                local n = math.min(quantum, asked.want - leases.count)
                local is_given_up, some_left = leasing.take_stalled(slot, asked)
                if is_given_up then
                    if not some_left then turns.remove(slot) end
                    leasing.pass_over(slot)
                    n = 0
                end
                if asked.per_slot > 0 then
                    n = math.min(n, asked.per_slot - (given[slot] or 0))
                    given[slot] = (given[slot] or 0) + n
                    if given[slot] >= asked.per_slot then leasing.pass_over(slot) end
                end
                if n > 0 then
                    local got, has_more = items.take(slot, n, leasing.add, are_many)
                    if has_more == false then turns.remove(slot)
                    elseif got > 0 and has_more then turns.place_later(slot, meta.now_us) end
                end
                some_stay = some_stay or not leasing.passed_over[slot]
            end
            if are_many then
                local more, empty = items.find_out()
                turns.remove_all(empty)
                for _, slot in ipairs(more) do turns.place_later(slot, meta.now_us) end
            end
            turns.place_all()
            if leases.count == before and leasing.withdrawn() == gone then return end
            if are_all and not some_stay then return end
        end
    end

    local function fresh()
        given = leasing.given
    end

    return {lease = lease}, fresh
end)
