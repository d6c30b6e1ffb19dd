-- uses: budgets
-- The home of a wide name (see budgets.lua): which of its quota each shard may store within. What a shard has is what it was
-- given less what it gave back, both as they were ever, so that what is told twice, late or never changes nothing: a shard
-- never believes to have more than its home has noted for it. bank, of a record: {census: told of the limits by which all
-- shards have said what they have, of: shard -> a report of it}.
local blocks = (function()
    local MOST = 1000  -- of one block, beyond what is needed

    local function has(one, i)  -- what a shard may store, and what it has stored if that is more
        return math.max(one.share[2 * i - 1] - one.share[2 * i], one.used[i])
    end

    local function learn(r, shard, said)  -- -> whether other limits of blocks hold now
        local pages, queued, is_old = r.limits[1], r.limits[2], said.told < r.told
        if said.told > r.told then budgets.set_limits(r, said.told, said.limits) end
        local one = r.bank.of[shard] or {share = {0, 0, 0, 0}, used = {0, 0}}
        for i = 1, 4 do said.share[i] = math.max(said.share[i], one.share[i]) end
        for i = 1, 2 do
            if is_old then said.used[i] = math.max(said.used[i], one.used[i]) end
        end
        r.bank.of[shard] = {share = said.share, used = said.used}
        return r.limits[1] ~= pages or r.limits[2] ~= queued
    end

    local function give(r, shard, i, need, shards)  -- a block, if there is one -> 1 when it is not enough
        local mine, all = r.bank.of[shard], 0
        for _, one in pairs(r.bank.of) do all = all + has(one, i) end
        local left = math.max(0, r.limits[i] - all)
        local most, given, back = has(mine, i) + left, mine.share[2 * i - 1], mine.share[2 * i]
        local wanted = mine.used[i] + math.max(need, math.min(MOST, math.ceil(left / (2 * shards))))
        mine.share[2 * i - 1] = math.max(given, back + math.min(most, wanted))
        return mine.share[2 * i - 1] - back < mine.used[i] + need and 1 or 0
    end

    -- said: {name, shard, need, shards, reports: {shard, report} each, is_all: 1 when these are all shards'}
    -- -> what the shard learns, see budgets.learn, and lacks: {pages, queued} 1 where it is not enough; has_to_ask: 1 when all
    -- have to tell first what they have; all: {shard, its share} each, where one of these is so
    local function draw(said)
        local r = budgets.of(said.name)
        if not r.bank then
            local first = said.reports[1][2]
            local is_known = first.share[1] + first.share[3] + first.used[1] + first.used[2] > 0  -- this shard lost it
            r.bank = {census = is_known and -1 or math.max(r.told, first.told), of = {}}
        end
        local is_other = false
        for _, one in ipairs(said.reports) do is_other = learn(r, one[1], one[2]) or is_other end
        if said.is_all == 1 and not is_other then r.bank.census = r.told end
        budgets.touch(said.name)
        local told = {told = r.told, limits = r.limits, spent = budgets.spent_in(r), lacks = {0, 0}, is_home = 1}
        if r.bank.census ~= r.told then told.has_to_ask = 1
        else
            for i = 1, 2 do
                if r.limits[i] >= 0 then told.lacks[i] = give(r, said.shard, i, said.need, said.shards) end
            end
        end
        told.share = r.bank.of[said.shard].share
        if told.has_to_ask or told.lacks[1] + told.lacks[2] > 0 then
            told.all = {}
            for shard, one in pairs(r.bank.of) do told.all[#told.all + 1] = {shard, one.share} end
        end
        return told
    end

    return {draw = draw}
end)()
