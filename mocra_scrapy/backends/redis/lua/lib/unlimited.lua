-- uses: lazy meta turns items leases leasing
-- What is leased where slots have no limits: in turn, the same of each.
local unlimited = lazy.library(function()
    local given = leasing.given

    local function next_slots(asked)
        local slots, line = {}, turns.line(leasing.missing(asked) + leasing.skipped)
        for i = 1, #line, 2 do
            local gate = turns.name_of_gate(line[i])
            if gate then
                turns.open_gate(gate)
                leasing.more = true
            elseif not leasing.passed_over[line[i]] then slots[#slots + 1] = line[i] end
        end
        return slots
    end

    local function lease(asked)
        turns.open_all()
        while leasing.missing(asked) > 0 do
            local slots, before, gone = next_slots(asked), leases.count, leasing.withdrawn()
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
                    local got, has_more = items.take(slot, n, leasing.add)
                    if not has_more then turns.remove(slot) elseif got > 0 then turns.place(slot, meta.now_us) end
                end
            end
            if leases.count == before and leasing.withdrawn() == gone then return end
        end
    end

    return {lease = lease}
end)
