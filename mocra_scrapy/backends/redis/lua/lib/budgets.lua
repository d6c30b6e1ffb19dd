-- uses: journal meta items
-- Budgets, see IBudgets: what is counted of each name. A record in Lua is {pages, queued, bytes, errors, ms; limits: of
-- these five, -1: any amount; told: ms since when whoever told them has them; last: ms of its last answer, 0: none; refused:
-- place of a budget among the five -> number}; stored it is packed as {the five, limits, told, last, refused}.
local budgets = (function()
    local call, note = redis.call, journal.note
    local KEY, USED_UP = meta.prefix .. 'budgets', meta.prefix .. 'budgets:used'
    local SPENT = 3  -- the first that waiting does not mend
    local TIME, LONGEST_GAP = 5, 900000  -- ms between two answers that count, at most
    local known, raws, changed = {}, {}, {}  -- name -> record; as it is stored or false; what has to be written
    local told, limits  -- by who calls
    local is_any

    local function open(name, raw)
        local r = {0, 0, 0, 0, 0, limits = {-1, -1, -1, -1, -1}, told = 0, last = 0, refused = {}}
        if raw then
            local five, stored_limits, stored_told, last, refused = unpack(cmsgpack.unpack(raw))
            r = five
            r.limits, r.told, r.last, r.refused = stored_limits, stored_told, last, refused
        end
        if limits and limits[name] and told >= r.told then
            if raw and told ~= r.told then changed[name] = true end
            r.told, r.limits = told, limits[name]
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

    local function begin(asked)  -- {told, limits: name -> five, spent: name -> {bytes, errors}}
        told, limits = asked.told, asked.limits or {}
        local names, spent = {}, asked.spent or {}
        for name in pairs(limits) do names[#names + 1] = name end
        for name in pairs(spent) do
            if not limits[name] then names[#names + 1] = name end
        end
        if #names == 0 then return end
        for i, raw in ipairs(meta.answers_in_parts('HMGET', KEY, names)) do
            local name = names[i]
            local r = open(name, raw)
            if spent[name] and raw then
                r[3], r[4], r[TIME] = r[3] + spent[name][1], r[4] + spent[name][2], used(r, TIME)
                r.last, changed[name] = meta.now, true
            end
        end
    end

    local function why_not(names)  -- the budget of the first of names of which one is used up, and that name; or nil
        for _, name in ipairs(names) do
            local i = used_up(of(name), 1)
            if i then return i, name end
        end
        return nil
    end

    local function count(name, i, n)
        local r = of(name)
        r[i], changed[name] = math.max(0, r[i] + n), true
    end

    local function refuse(name, i)
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

    local function pack(r)
        return cmsgpack.pack({{r[1], r[2], r[3], r[4], r[5]}, r.limits, r.told, r.last, r.refused})
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

    return {
        KEY = KEY, begin = begin, why_not = why_not, refuse = refuse, accept = accept, count = count, wait = wait,
        is_any_spent = is_any_spent, spent_of = spent_of, save = save, drop = drop, used = used, open = open,
    }
end)()
