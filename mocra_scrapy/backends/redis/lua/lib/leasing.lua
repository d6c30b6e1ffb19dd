-- uses: lazy meta items permits leases stalled withdrawing
-- What a turn leases: leasing.begin(asked), then limited.lease(asked) or unlimited.lease(asked), and what these share. asked
-- is the argument of exchange.lua; asked_at: ms when this worker last asked for permits of what is parked.
local leasing = (function()
    -- What it returns. departs: what is booked for each lease or 0, where anything is; crowded: see Exchange.crowded;
    -- passed_over: names of which nothing more is leased; skipped: of ready, those that may stand in front and give this worker
    -- nothing; given: slot -> leases, where per_slot counts; more: whether the next call finds something at once; any_stalled:
    -- whether any slot was given up.
    local leasing
    local passed_over
    local withdraws  -- whether anything has budgets

    local function pass_over(slot)
        if not passed_over[slot] then passed_over[slot], leasing.skipped = true, leasing.skipped + 1 end
    end

    local function missing(asked) return items.is_full() and 0 or asked.want - leases.count end

    local function withdrawn() return withdraws and withdrawing.count or 0 end

    local function withdraw(slot, item) return withdraws and withdrawing.takes(slot, item) end  -- whether it is gone

    local function why_stalled(slot) return leasing.any_stalled and stalled.why_of(slot) end

    local function take_stalled(list, asked)  -- see stalled.takes
        if leasing.any_stalled then return stalled.takes(list, asked) end
        return false, false
    end

    local function add_what_stays(slot, rank, item)  -- false: it is gone
        return not withdraw(slot, item) and leases.add(slot, rank, item)
    end

    local function begin(asked)
        asked.loads, asked.per_slot = asked.loads or {}, asked.per_slot or 0
        for _, slot in ipairs(asked.full or {}) do pass_over(slot) end
        if lazy.is_made(permits) then
            for name in pairs(permits.yielded) do pass_over(name) end
        end
        withdraws = asked.budgets ~= nil
        if withdraws then leasing.add = add_what_stays end
        leasing.any_stalled = not meta.is_quiet and redis.call('EXISTS', meta.prefix .. 'stalled') == 1
    end

    leasing = {
        departs = '', crowded = '', passed_over = '', skipped = 0, given = '', begin = begin, pass_over = pass_over,
        missing = missing, withdrawn = withdrawn, withdraw = withdraw, why_stalled = why_stalled, take_stalled = take_stalled,
        add = leases.add, more = false, any_stalled = false,
    }

    local function fresh()
        passed_over, withdraws = {}, nil
        leasing.departs, leasing.crowded, leasing.passed_over, leasing.skipped, leasing.given = {}, {}, passed_over, 0, {}
        leasing.more, leasing.any_stalled, leasing.add = false, false, leases.add
    end

    return leasing, fresh
end)()
