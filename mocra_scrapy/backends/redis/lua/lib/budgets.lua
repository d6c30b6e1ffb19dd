-- uses: lazy journal meta items
-- Budgets, see IBudgets: what is counted of each name. A record in Lua is {pages, queued, bytes, errors, ms; limits: of
-- these five, -1: any amount; told: ms since when whoever told them has them; last: ms of its last answer, 0: none; refused:
-- place of a budget among the five -> number; share, bank: of a wide name}; stored it is packed as {the five, limits, told,
-- last, refused, share, bank}, without the last two where there are none.
--
-- A wide name (a domain or a seed, where the crawl has several shards) counts for slots that are on several. Its pages and
-- its queued requests are counted where they are stored, within blocks that the shard has from the name's home, see
-- blocks.lua. share: {pages given, pages given back, queued given, queued given back, 1 while these are by the limits that
-- hold}, each but the last only grows; without one, or with a 0, nothing is stored before the home was asked. Bytes, errors
-- and time are counted at home; what the others have of them is the last that they were told.
local budgets = lazy.library(function()
    local call, note = redis.call, journal.note
    local SPENT = 3  -- the first that waiting does not mend
    local TIME, LONGEST_GAP = 5, 900000  -- ms between two answers that count, at most
    local budgets  -- what it returns
    local KEY, USED_UP
    local known, raws, changed  -- name -> record; as it is stored or false; what has to be written
    local told, limits, has_wide  -- by who calls
    local is_any
    -- By who calls: wide name -> {1 when nobody has pages left, 1: no room for queued, what this shard had given back of each
    -- when that was so}; with a 2 it does not ask once more.
    local dry
    local lacking, needs  -- wide names that the last why_not found without a block; name -> entries that need one
    local waiting  -- name that is not wide -> entries that wait for blocks of other names

    local function give_back(r)  -- what the shard has of blocks and does not use
        for i = 1, 2 do
            local given, back = r.share[2 * i - 1], r.share[2 * i]
            r.share[2 * i] = back + math.max(0, given - back - r[i])
        end
    end

    local function set_limits(r, when, new)
        local changed_blocks = new[1] ~= r.limits[1] or new[2] ~= r.limits[2]
        if r.bank and r.bank.census == r.told and not changed_blocks then r.bank.census = when end
        r.told, r.limits = when, new
        if not r.share or not changed_blocks then return end
        give_back(r)  -- it was given by other limits
        r.share[5] = 0
    end

    local function open(name, raw)
        local r = {0, 0, 0, 0, 0, limits = {-1, -1, -1, -1, -1}, told = 0, last = 0, refused = {}}
        if raw then
            local five, stored_limits, stored_told, last, refused, share, bank = unpack(cmsgpack.unpack(raw))
            r = five
            r.limits, r.told, r.last, r.refused, r.share, r.bank = stored_limits, stored_told, last, refused, share, bank
        end
        if limits and limits[name] and told >= r.told then
            if raw and told ~= r.told then changed[name] = true end
            set_limits(r, told, limits[name])
        end
        known[name], raws[name] = r, raw
        return r
    end

    local function of(name)
        return known[name] or open(name, call('HGET', KEY, name))
    end

    local function used(r, i)
        if i == TIME and r.last > 0 then return r[i] + math.min(meta.now - r.last, LONGEST_GAP) end
        return r[i]
    end

    local function used_up(r, first)  -- the first that is, of those from first on, or nil
        for i = first, TIME do
            if r.limits[i] >= 0 and used(r, i) >= r.limits[i] then return i end
        end
        return nil
    end

    local function is_wide(name) return has_wide and string.sub(name, 1, 5) ~= 'slot:' end

    -- What is said of a wide name: {told, limits, share without its last, spent: bytes, errors, ms, last, is_home: 1 where its
    -- home says it}.
    local function learn(r, one)
        if one.told > r.told then set_limits(r, one.told, one.limits) end
        r.share = r.share or {0, 0, 0, 0, 0}
        for i = 1, 4 do r.share[i] = math.max(r.share[i], one.share[i]) end
        if one.told == r.told and one.is_home == 1 then r.share[5] = 1 end
        if r.share[5] == 0 then give_back(r) end
        for i = 1, 3 do r[i + 2] = math.max(r[i + 2], one.spent[i]) end
        r.last = math.max(r.last, one.spent[4])
    end

    local function spent_in(r) return {r[3], r[4], r[TIME], r.last} end

    -- {told, limits: name -> five, spent: name -> {bytes, errors}, wide: 1 where there are several shards, shares: name -> see
    -- learn, dry: name -> see above}. -> of wide names that are used up: name -> what the other shards have to learn
    local function begin(asked)
        told, limits, has_wide, dry = asked.told, asked.limits or {}, asked.wide == 1, asked.dry or {}
        local names, spent, shares, used_up_here = {}, asked.spent or {}, asked.shares or {}, nil
        for name in pairs(limits) do names[#names + 1] = name end
        for _, more in ipairs({spent, shares}) do
            for name in pairs(more) do
                if not limits[name] then names[#names + 1] = name end
            end
        end
        if #names == 0 then return end
        for i, raw in ipairs(meta.answers_in_parts('HMGET', KEY, names)) do
            local name = names[i]
            local r = open(name, raw)
            if spent[name] and raw then
                r[3], r[4], r[TIME] = r[3] + spent[name][1], r[4] + spent[name][2], used(r, TIME)
                r.last, changed[name] = meta.now, true
                if is_wide(name) and used_up(r, SPENT) then
                    used_up_here = used_up_here or {}
                    used_up_here[name] = {told = r.told, limits = r.limits, share = {0, 0, 0, 0}, spent = spent_in(r)}
                end
            end
            if shares[name] then
                learn(r, shares[name])
                changed[name] = true
            end
        end
        return used_up_here
    end

    local function block_of(name, r)  -- of a wide name: the budget that refuses; 0: its home has to be asked; nil: there is room
        local refuses, asks, none = nil, not r.share or r.share[5] == 0, dry[name]
        for i = 1, 2 do
            if r.limits[i] >= 0 and r.share and r[i] >= r.share[2 * i - 1] - r.share[2 * i] then
                if none and none[i] > 0 and r.share[2 * i] <= none[2 + i] then refuses = refuses or i else asks = true end
            end
        end
        if asks and none and none[1] == 2 then refuses = refuses or 1 end
        return used_up(r, SPENT) or refuses or (asks and 0 or nil)
    end

    local function why_not(names)  -- the budget of the first of names of which one is used up, and that name; 0: see block_of
        lacking = {}
        for _, name in ipairs(names) do
            local r = of(name)
            local i
            if is_wide(name) then i = block_of(name, r) else i = used_up(r, 1) end
            if i == 0 then lacking[#lacking + 1] = name elseif i then return i, name end
        end
        return #lacking > 0 and 0 or nil
    end

    local function count(name, i, n)
        local r = of(name)
        r[i], changed[name] = math.max(0, r[i] + n), true
    end

    local function has_room(names)  -- whether one more entry that waits may be stored, if there is a block
        local has = true
        for _, name in ipairs(names) do
            if not is_wide(name) then
                local r, n = of(name), (waiting[name] or 0) + 1
                waiting[name] = n
                for i = 1, 2 do has = has and (r.limits[i] < 0 or r[i] + n <= r.limits[i]) end
            end
        end
        return has
    end

    local function refuse(name, i, names)
        if i == 0 then  -- what its slot has no room for does not make a block larger: others may use it
            local more = has_room(names) and 1 or 0
            for _, one in ipairs(lacking) do needs[one] = math.max(1, (needs[one] or 0) + more) end
            return
        end
        local r = of(name)
        r.refused[i], changed[name] = (r.refused[i] or 0) + 1, true
    end

    local function accept(names, is_again)
        for _, name in ipairs(names) do
            if not is_again then count(name, 1, 1) end
            count(name, 2, 1)
        end
    end

    local function wait(item, n)  -- an item is lined up again; -1: it is handed out, or gone
        local _, names = items.tag(item)
        for _, name in ipairs(names or {}) do
            of(name)
            if raws[name] or changed[name] then count(name, 2, n) end
        end
    end

    local function is_any_spent()  -- asked once, of whoever has budgets
        if is_any == nil then is_any = told ~= nil and call('EXISTS', USED_UP) == 1 end
        return is_any
    end

    local function spent_of(names)  -- the budget of the first that no waiting mends, and that name; or nil
        for _, name in ipairs(names) do
            local i = used_up(of(name), SPENT)
            if i then return i, name end
        end
        return nil
    end

    local function report(r)  -- of a wide name, for its home
        local s = r.share or {0, 0, 0, 0}
        return {told = r.told, limits = r.limits, used = {r[1], r[2]}, share = {s[1], s[2], s[3], s[4]}}
    end

    local function needed()  -- of wide names, by entries that were not stored: {name, how many, report}; or nil
        local out = {}
        for name, n in pairs(needs) do out[#out + 1] = {name, n, report(of(name))} end
        return #out > 0 and out or nil
    end

    local function pack(r)
        local one = {{r[1], r[2], r[3], r[4], r[5]}, r.limits, r.told, r.last, r.refused}
        if r.share or r.bank then one[6], one[7] = r.share or false, r.bank or false end
        return cmsgpack.pack(one)
    end

    local function save()
        local args, gone, came = {}, {}, {}
        for name in pairs(changed) do
            local n, is_spent = #args, used_up(known[name], SPENT) ~= nil
            args[n + 1], args[n + 2] = name, pack(known[name])
            if is_spent then came[#came + 1] = name else gone[#gone + 1] = name end
        end
        if #args == 0 then return end
        for name in pairs(changed) do
            if raws[name] then note('HSET', KEY, name, raws[name]) else note('HDEL', KEY, name) end
        end
        meta.in_parts('HSET', KEY, args)
        if #gone > 0 and call('EXISTS', USED_UP) == 1 then meta.in_parts('SREM', USED_UP, gone) end
        meta.in_parts('SADD', USED_UP, came)  -- not taken back: whoever finds one there looks at its record
    end

    local function drop() call('DEL', KEY, USED_UP) end

    budgets = {
        KEY = '', begin = begin, why_not = why_not, refuse = refuse, accept = accept, count = count, wait = wait,
        is_any_spent = is_any_spent, spent_of = spent_of, save = save, drop = drop, used = used, open = open,
        of = of, learn = learn, give_back = give_back, set_limits = set_limits, spent_in = spent_in, report = report,
        needed = needed, touch = function(name) changed[name] = true end,
        is_stored = function(name) return raws[name] and true or false end,
    }

    local function fresh()
        KEY, USED_UP = meta.prefix .. 'budgets', meta.prefix .. 'budgets:used'
        budgets.KEY = KEY
        known, raws, changed, dry, lacking, needs, waiting = {}, {}, {}, {}, {}, {}, {}
        told, limits, has_wide, is_any = nil, nil, nil, nil
    end

    return budgets, fresh
end)
