-- uses: lazy meta items filter budgets log
-- What waits and counts for a budget that is used up is gone as it would be handed out, as if it had never been stored.
local withdrawing = lazy.library(function()
    local MOST, BODIES = 500, 3  -- of one call; of those that are shown
    local MINUS = 45  -- it came again, see items.lua
    local places  -- slot and budget -> place in told
    local withdrawing  -- what it returns; told: {budget, slot, how many} each; bodies: {place in told, body, ...}

    local function tell(i, list, item)
        local slot = string.match(list, '^[^\31]*')
        local at = places[i .. slot]
        if not at then
            at = #withdrawing.told + 1
            places[i .. slot], withdrawing.told[at] = at, {i, slot, 0}
        end
        local one, bodies = withdrawing.told[at], withdrawing.bodies
        one[3] = one[3] + 1
        if one[3] <= BODIES then bodies[#bodies + 1], bodies[#bodies + 2] = at, items.body(item) end
    end

    local function takes(list, item)  -- whether an item that is not in its list any more is gone
        if not budgets.is_any_spent() then return false end
        local number, names = items.tag(item)
        local i, name = budgets.spent_of(names or {})
        if not i then return false end
        budgets.wait(item, -1)
        log.finish(item)
        for _, one in ipairs(string.byte(number) == MINUS and {} or names) do budgets.count(one, 1, -1) end
        local fp = string.match(number, '%d+')
        if fp then filter.forget(fp) end
        budgets.refuse(name, i)
        meta.pending, meta.seq = math.max(0, meta.pending - 1), meta.seq + 1
        tell(i, list, item)
        withdrawing.count = withdrawing.count + 1
        if withdrawing.count >= MOST then
            withdrawing.is_unfinished = true
            items.stop()
        end
        return true
    end

    withdrawing = {takes = takes, count = 0, told = '', bodies = '', is_unfinished = false}

    local function fresh()
        places, withdrawing.count, withdrawing.told, withdrawing.bodies, withdrawing.is_unfinished = {}, 0, {}, {}, false
    end

    return withdrawing, fresh
end)
