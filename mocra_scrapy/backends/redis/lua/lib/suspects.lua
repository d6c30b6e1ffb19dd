-- uses: lazy journal meta items workers throttle leases stalled leasing limited
-- What was held by workers that died is handed out one at a time to each worker, so that it is found out.
local suspects = lazy.library(function()
    local call = redis.call
    local SUSPECT

    local function lease(asked, placed)  -- placed: the first in line
        local rank, slot, item = items.unplace(placed)
        local names, is_given_up = asked.throttled and throttle.names_of(slot), leasing.why_stalled(slot)
        if not is_given_up and (leasing.passed_over[slot] or (names and (limited.allowed(asked, names, 1)) == 0)) then
            call('LMOVE', SUSPECT, SUSPECT, 'LEFT', 'RIGHT')
            return
        end
        call('LPOP', SUSPECT)
        journal.note('LPUSH', SUSPECT, placed)
        if leasing.withdraw(slot, item) then return end
        meta.pending, meta.seq = math.max(0, meta.pending - 1), meta.seq + 1
        if is_given_up then
            stalled.bury(rank, slot, item, asked)
            return
        end
        items.spend(item)
        if names then
            limited.depart(names)
            limited.count_in(asked, names, 1)
        end
        leases.set('suspect', leases.add(slot, rank, item))
        leasing.given[slot] = 1
        if asked.per_slot == 1 then leasing.pass_over(slot) end
    end

    local function fresh()
        SUSPECT = workers.SUSPECT
    end

    return {lease = lease}, fresh
end)
