-- uses: lazy meta workers turns throttle mailbox
-- Permits: what a worker may have in flight of a slot or scope. They are never more in all than its limit of concurrency.
local permits = lazy.library(function()
    local call, text = redis.call, meta.text
    local MANY = 1000000  -- permits of what has no limit of concurrency
    local FEW = 2  -- of which it is not asked first whether there are any, see throttle.fetch
    local ASKED = 5000  -- ms after which a worker that found no permit no longer counts, unless it comes again
    local prefix, now, is_there, is_paced, limit_of, PERMITS, ASKING
    local stored  -- name -> what is stored, of those that were read
    local known  -- name -> see of()
    local lives  -- worker -> whether its lease goes on
    local yielded  -- names of which permits were given back because others asked: these come first
    local single  -- what is stored where one worker has n permits and nobody else has any
    local permits  -- what it returns

    local function is_alive(worker)
        if lives[worker] == nil then lives[worker] = (workers.ends_at(worker) or -1) >= now end
        return lives[worker]
    end

    local function holders_of(name)  -- {worker -> permits}; those of workers that left or died are nobody's
        local raw, out = throttle.field(PERMITS, name), {}
        if raw then
            local flat = cmsgpack.unpack(raw)
            for i = 1, #flat, 2 do
                if is_alive(flat[i]) then out[flat[i]] = flat[i + 1] end
            end
        end
        return out
    end

    -- {mine; stored: mine as it is stored; total; others: {worker -> permits}; asking: how many others found none; parties:
    -- workers that have or want some, me included}
    local function of(name, me)
        local found = known[name]
        if found then return found end
        local holders = holders_of(name)
        local p = {mine = holders[me] or 0, total = 0, others = holders, asking = 0, parties = 1}
        for holder, n in pairs(holders) do
            p.total = p.total + n
            if holder ~= me then p.parties = p.parties + 1 end
        end
        holders[me] = nil
        p.stored = p.mine
        if is_there(ASKING) and call('ZSCORE', ASKING, name) then
            local flat = call('HGETALL', prefix .. 'ask:' .. name)
            for i = 1, #flat, 2 do
                local asker, since = flat[i], tonumber(flat[i + 1])
                if asker ~= me and now - since < ASKED then
                    p.asking = p.asking + 1
                    if not p.others[asker] then p.parties = p.parties + 1 end
                end
            end
        end
        known[name] = p
        return p
    end

    local function share(name, p)  -- permits that it may have now, its fair share. p: see of
        local concurrency = limit_of(name).concurrency
        if concurrency == 0 then concurrency = MANY end
        if p.parties == 1 then return concurrency, concurrency end  -- nobody else is there
        local fair = math.max(1, math.floor(concurrency / p.parties))
        local cap = p.mine + math.max(0, concurrency - p.total)
        if p.asking > 0 then cap = math.max(p.mine, math.min(cap, fair)) end
        return cap, fair
    end

    local function is_taken(name, me)  -- whether there is none left
        local concurrency = limit_of(name).concurrency
        return concurrency > 0 and of(name, me).total >= concurrency
    end

    -- How many entries it may have more. If none: the name of which it has less than its share, for which it asks unless
    -- `silently`; the name of which nobody can have more.
    local function room_for(names, me, loads, silently)
        local each, room = is_paced(names) and 1 or 2, MANY
        for i = 1, #names do
            local name = names[i]
            local cap, fair = share(name, known[name] or of(name, me))
            local here = each * cap - (loads[name] or 0)
            if here <= 0 then
                local taken = is_taken(name, me) and name or nil
                if cap >= fair then return 0, nil, taken end
                if not silently then permits.ask(name, me, fair) end
                return 0, name, taken
            end
            if here < room then room = here end
        end
        return room
    end

    local function grant(names, me, loads)
        for _, name in ipairs(names) do
            local p, wanted = known[name] or of(name, me), loads[name] or 0
            if wanted > p.mine then wanted = math.min(wanted, (share(name, p))) end
            if wanted > p.mine then p.total, p.mine = p.total + wanted - p.mine, wanted end
        end
    end

    local function alone(me, n)
        if not single[n] then single[n] = cmsgpack.pack({me, n}) end
        return single[n]
    end

    local function pack_holders(holders, me, mine)  -- nil: nobody has any
        if next(holders) == nil then return mine > 0 and alone(me, mine) or nil end
        local flat = {}
        for holder, n in pairs(holders) do
            if holder ~= me then flat[#flat + 1] = holder; flat[#flat + 1] = n end
        end
        if mine > 0 then flat[#flat + 1] = me; flat[#flat + 1] = mine end
        return #flat > 0 and cmsgpack.pack(flat) or nil
    end

    local function save(me)
        local set, asks = {}, is_there(ASKING)
        for name, p in pairs(known) do
            if p.mine > p.stored then
                set[#set + 1] = name
                set[#set + 1] = next(p.others) and pack_holders(p.others, me, p.mine) or single[p.mine] or alone(me, p.mine)
                if asks then call('HDEL', prefix .. 'ask:' .. name, me) end
            end
        end
        meta.in_parts('HSET', PERMITS, set)
    end

    -- Gives back all but so many -> of how many names that others ask or wait for; how much of the mail is obeyed.
    local function keep(numbers, me, mail)
        local names, freed, missed, confirmed, set, gone = {}, {}, 0, 0, {}, {}
        for name in pairs(numbers) do names[#names + 1] = name end
        if #names == 0 or (#names > FEW and not is_there(PERMITS)) then return 0, 0 end
        local asks, mine_alone = is_there(ASKING), alone(me, 1)
        for i, raw in ipairs(meta.answers_in_parts('HMGET', PERMITS, names)) do
            local name = names[i]
            local n = numbers[name]
            stored[name] = raw
            local is_all = n == 0 and raw == mine_alone  -- as most often, where requests go one at a time
            local holders = not is_all and holders_of(name)
            if is_all or n < (holders[me] or 0) then
                local packed
                if not is_all then
                    holders[me] = nil
                    packed = pack_holders(holders, me, n)
                end
                if packed then set[#set + 1] = name; set[#set + 1] = packed else gone[#gone + 1] = name end
                stored[name], freed[#freed + 1] = packed or false, name
                if asks and call('ZSCORE', ASKING, name) then missed = missed + 1 end
            end
            if mail.permits[name] and n <= mail.permits[name] then
                mail.permits[name], yielded[name], confirmed = nil, true, confirmed + 1
            end
        end
        meta.in_parts('HSET', PERMITS, set)
        meta.in_parts('HDEL', PERMITS, gone)
        local opened = #freed > 0 and turns.first_parked() and turns.open(freed) or 0
        return math.max(missed, opened), confirmed
    end

    local function is_known(name) return known[name] ~= nil end  -- it was fetched

    local function is_alone(names)  -- nobody else has or wants permits of these, which were fetched
        for _, name in ipairs(names) do
            if known[name].parties > 1 then return false end
        end
        return true
    end

    permits = {
        holders_of = holders_of, of = of, is_known = is_known, is_alone = is_alone, is_taken = is_taken, room_for = room_for,
        grant = grant, save = save, keep = keep, yielded = '',
    }
    lazy.with_rest(permits, function()  -- what few calls need
        local function ask(name, me, fair)  -- no permit for me: those who have more than their share are asked, if there are any
            local has_more = false
            for _, n in pairs(of(name, me).others) do has_more = has_more or n > fair end
            if not has_more then return end
            call('HSET', prefix .. 'ask:' .. name, me, text(now))
            call('PEXPIRE', prefix .. 'ask:' .. name, ASKED)
            call('ZADD', ASKING, text(now), name)
            call('PEXPIRE', ASKING, ASKED)
            for holder, n in pairs(of(name, me).others) do
                if n > fair then mailbox.ask_to_come_down(holder, name, fair) end
            end
        end

        local function give_wanted(names, me, loads, crowded)  -- for what comes from elsewhere than the queue
            for _, name in ipairs(names) do
                local _, crowd = room_for({name}, me, loads)
                if crowd then crowded[#crowded + 1] = crowd end
                grant({name}, me, loads)
            end
        end

        -- A limit is lower than before, of one name or (nil) of all: those who have more than there are now are asked to come
        -- down, and those that get none to give back what waits -> whom to wake.
        local function come_down(only)
            local flat, told = only and {only, false} or call('HGETALL', PERMITS), {}
            for i = 1, #flat, 2 do
                local name = flat[i]
                local most, all, total = limit_of(name).concurrency, {}, 0
                for holder, n in pairs(holders_of(name)) do all[#all + 1], total = holder, total + n end
                if most > 0 and total > most then
                    table.sort(all)
                    for place, holder in ipairs(all) do
                        local n = math.floor(most / #all) + (place <= most % #all and 1 or 0)
                        mailbox.ask_to_come_down(holder, name, n)
                        told[#told + 1] = holder
                    end
                end
            end
            return told
        end

        return {
            ask = ask, give_wanted = give_wanted, come_down = come_down,
        }
    end)

    local function fresh()
        prefix, now = meta.prefix, meta.now
        is_there, is_paced, limit_of = throttle.is_there, throttle.is_paced, throttle.limit_of
        PERMITS, ASKING = throttle.PERMITS, prefix .. 'asking'
        stored, known, lives, yielded, single = throttle.stored[PERMITS], {}, {}, {}, {}
        permits.yielded = yielded
    end

    return permits, fresh
end)
