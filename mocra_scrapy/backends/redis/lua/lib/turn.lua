-- uses: lazy journal meta items filter crawl sizes workers dead_letters rules turns throttle departures mailbox permits leases
-- uses: stalled budgets withdrawing leasing limited unlimited suspects reclaiming settling transit
-- A worker's whole turn on one shard: turn.take() -> the answer. What it is told and what it answers: see exchange.lua.
local turn = (function()
    local call, note, text = redis.call, journal.note, meta.text
    local now, worker, key, DELAYED, DEAD_AT
    local asked  -- the argument
    -- What the worker's hash says: call, its last one {number, done, leases, before: {number, done} of each earlier step of
    -- that call}; suspect, the one that it holds; robbed: whether something was taken from it; asked: ms when it last asked
    -- for permits of what is parked; fades: set while it has a time limit, see finish_tidy.lua. before: of this call's earlier
    -- steps.
    local own, mail
    -- The part of the answer that a repeat can't find out again: stored, acked, released, buried, kept, lost, reclaimed,
    -- given_up, crowded as they are told; departs: see limited.lua; holds: name -> us. What says nothing is missing.
    local done
    local first_end  -- ms when the first lease of a worker ends, where it is known
    local events  -- entries, and permits that others ask for, that became free by this call

    local function read_own()
        local stored = call('HMGET', key, 'call', 'suspect', 'robbed', 'mail', 'asked', 'fades')
        local last_call, suspect, robbed, packed, ms, fades = unpack(stored)
        last_call = last_call and cmsgpack.unpack(last_call)
        own = {call = last_call, suspect = suspect, robbed = robbed, mail = packed, fades = fades}
        asked.asked_at = tonumber(ms or 0)
        if not own.call then  -- its first call, or it was declared dead
            local last = call('GET', workers.last_of(worker))
            own.is_new = true
            if last then
                own.before_death = cmsgpack.unpack(last)
                own.call, own.robbed = cmsgpack.unpack(own.before_death.call), own.before_death.robbed == 1
            end
        end
        if own.robbed then done.lost = 1 end
        mail = mailbox.open(packed)
    end

    local function next_due(size)  -- ms, or nil
        local YEAR = 3.2e10  -- ms: what is paused has no time
        local _, delayed, leased = unpack(size)
        local at = math.huge
        if delayed > 0 then at = tonumber(call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]) end
        if leased > 0 then
            first_end = first_end or tonumber(call('ZRANGE', workers.ALIVE, 0, 0, 'WITHSCORES')[2] or at)
            at = math.min(at, first_end)
        end
        if lazy.is_made(stalled) and stalled.is_unfinished then return 0 end
        if leasing.more or (lazy.is_made(withdrawing) and withdrawing.is_unfinished) then return 0 end
        local due = math.max(0, at - now)
        if asked.throttled then
            local ready, from = meta.prefix .. 'ready', '(' .. text(meta.now_us)
            local soon = call('ZRANGEBYSCORE', ready, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
            local left = soon and (tonumber(soon) - meta.now_us) / 1000 or YEAR
            if left < YEAR then due = math.min(due, math.ceil(left)) end
        end
        return due < math.huge and math.floor(due) or nil
    end

    local function answer()
        local size, mine, held, tried = sizes(asked.dead_ttl), nil, nil, {}
        if asked.throttled then
            mine = {}
            local is_any_changed = leases.count > 0 and throttle.is_there(throttle.LIVE)
            for _, group in ipairs(leases.groups) do
                local names = group[3] and throttle.names_of(group[1]) or {}
                for _, name in ipairs(names) do mine[name] = permits.of(name, worker).mine end
                if is_any_changed and names[1] and throttle.limit_of(names[1]).is_tried then tried[#tried + 1] = names[1] end
            end
            for _, name in ipairs(asked.wanted or {}) do mine[name] = permits.of(name, worker).mine end
            for name, n in pairs(mail.permits) do mine[name] = n end
            if done.holds then
                held = {}
                for name, at in pairs(done.holds) do held[name] = math.max(0, math.floor(at - meta.now_us)) end
            end
        end
        return cmsgpack.pack({
            stored = done.stored, acked = done.acked, released = done.released, buried = done.buried, kept = done.kept,
            lost = done.lost, reclaimed = done.reclaimed, given_up = done.given_up, stalled = done.stalled,
            crowded = done.crowded, groups = leases.count > 0 and leases.groups or nil, size = size, due = next_due(size),
            state = asked.control == 1 and crawl.state() or nil,
            departs = done.departs, now = done.departs and meta.now_us or nil, permits = mine, held = held,
            silence = meta.silence, tried = #tried > 0 and tried or nil, rules = rules.open().version,
            rule_sets = rules.different() > 1 and rules.different() or nil, needed = done.needed, used_up = done.used_up,
            withdrawn = done.withdrawn, bodies = done.withdrawn and #withdrawing.bodies > 0 and withdrawing.bodies or nil,
            positioned = done.positioned, moved = done.moved, taken = done.taken,
            lined_up = done.lined_up,
        })
    end

    local function repeated()  -- the answer of the first time, with the leases that are still held; nil: it is a new call
        local last, number = own.call, asked.number
        if not last then return nil end
        local before, earlier = last.before or {}, nil
        for _, step in ipairs(before) do earlier = step.number == number and step.done or earlier end
        if earlier then done = earlier
        elseif number < last.number then return redis.error_reply('ERR mocra: the call numbers of a worker must grow')
        elseif number > last.number then
            if last.number >= asked.first then own.before = {{number = last.number, done = last.done}, unpack(before)} end
            return nil
        else
            done = last.done
            leases.restore(last.leases)
        end
        if own.robbed then done.lost = 1 end
        workers.renew(worker, asked.lease)
        meta.save()
        return answer()
    end

    local function renew()  -- everything the worker holds; what has to be done now and then; limits and permits
        workers.renew(worker, asked.lease)
        if own.before_death then
            call('HSET', key, 'call', own.before_death.call, unpack(own.robbed and {'robbed', 1} or {}))
            call('DEL', workers.last_of(worker))
        end
        if own.robbed then
            call('HDEL', key, 'robbed')
            note('HSET', key, 'robbed', 1)
        end
        filter.rotate(asked.seen_ttl)
        if asked.dead_ttl > 0 and not meta.is_quiet and call('ZCOUNT', DEAD_AT, '-inf', text(now - asked.dead_ttl)) > 0 then
            dead_letters.expire(asked.dead_ttl)
        end
        if not asked.throttled then return end
        for _, one in ipairs(asked.unused or {}) do
            local names, booking = unpack(one)
            departures.take_back(names, booking)
            turns.sooner(names)
        end
        local confirmed = 0
        if asked.keep_permits then events, confirmed = permits.keep(asked.keep_permits, worker, mail) end
        if next(mail.holds) then done.holds, mail.holds = mail.holds, {} end  -- told once
        if done.holds or confirmed > 0 then
            if own.mail then note('HSET', key, 'mail', own.mail) end
            mailbox.send(worker, mail)
        end
    end

    local function push()  -- with lifo to the front, but for those of start()
        if not asked.push then return end
        local remember, ttl, flags = filter.remember, asked.seen_ttl, {}
        for _, group in ipairs(asked.push) do
            local slot, rank, delay, entries, names, again, parent = unpack(group)
            local is_stale = parent and call('HEXISTS', key, parent) == 0
            if is_stale then flags[#flags + 1], entries = string.rep('-', #entries / 2), {} end
            local new, tail = {}, names and '\31' .. table.concat(names, '\31')
            for i = 1, #entries, 2 do
                local fp = entries[i]
                local why, by
                if names and again == 0 then why, by = budgets.why_not(names) end
                if why and (fp == '' or not filter.knows(fp)) then
                    budgets.refuse(by, why, names)
                    flags[#flags + 1] = string.char(96 + why)
                elseif not why and (fp == '' or remember(fp, ttl)) then
                    local item = '\0' .. items.wrap(entries[i + 1], names and (again == 1 and '-' or '') .. fp .. tail)
                    if names then budgets.accept(names, again == 1) end
                    meta.seq = meta.seq + 1
                    if asked.hold then
                        transit.hold(asked.number, rank, slot, delay > 0 and now + delay or 0, item)
                        events = events - 1  -- nobody gets it
                    elseif delay > 0 and not stalled.why_of(slot) then
                        local member = string.format('%014x', meta.seq) .. items.place(rank, slot, item)
                        call('ZADD', DELAYED, text(now + delay), member)
                        meta.is_quiet = false
                        note('ZREM', DELAYED, member)
                    else new[#new + 1] = item end
                    flags[#flags + 1] = '1'
                    events = events + 1
                else flags[#flags + 1] = '0' end
            end
            if #new > 0 then items.put(rank, slot, new, asked.lifo == 1 and rank % 2 == 1) end
        end
        done.stored, done.needed = table.concat(flags), lazy.is_made(budgets) and budgets.needed() or nil
        filter.grow(ttl)
        if asked.hold then transit.save(worker) end
    end

    local function promote()  -- what has become due, a limited number a call
        if meta.is_quiet then return end
        local MOST_DUE = 100
        local due = call('ZRANGEBYSCORE', DELAYED, '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, MOST_DUE)
        for i = 1, #due, 2 do
            local member = due[i]
            call('ZREM', DELAYED, member)
            note('ZADD', DELAYED, due[i + 1], member)
            local rank, slot, item = items.unplace(string.sub(member, 15))
            items.put(rank, slot, {item}, asked.lifo == 1 and rank % 2 == 1)
            events = events + 1
        end
    end

    local function reclaim()  -- what dead workers held, a limited number a call
        local MOST_DEAD = 4
        local ends, all_dead = call('ZRANGE', workers.ALIVE, 0, MOST_DEAD - 1, 'WITHSCORES'), {}
        for i = 1, #ends, 2 do
            if tonumber(ends[i + 1]) < now then all_dead[#all_dead + 1] = ends[i] end
        end
        if #all_dead == 0 then
            first_end = tonumber(ends[2])
            return
        end

        events = events + reclaiming.take(all_dead, asked, done)
    end

    local function lease()
        if asked.wanted and asked.throttled and asked.is_ruled then
            permits.give_wanted(asked.wanted, worker, asked.loads or {}, leasing.crowded)
        end
        if asked.want <= 0 or not asked.is_ruled then
            if asked.unused then departures.save() end
            if asked.wanted then permits.save(worker) end
            if #leasing.crowded > 0 then done.crowded = leasing.crowded end
            return
        end
        asked.want = math.min(asked.want, 65535)  -- a token has four digits for the place in its call
        leasing.begin(asked)
        if leasing.any_stalled then stalled.sweep(asked) end
        local suspect = not own.suspect and not meta.is_quiet and call('LINDEX', workers.SUSPECT, 0)
        if suspect then suspects.lease(asked, suspect) end
        if asked.throttled then limited.lease(asked) else unlimited.lease(asked) end
        if #leasing.departs > 0 then done.departs = leasing.departs end
        if #leasing.crowded > 0 then done.crowded = leasing.crowded end
        if lazy.is_made(stalled) and stalled.count > 0 then done.stalled = stalled.count end
        if lazy.is_made(withdrawing) and withdrawing.count > 0 then done.withdrawn = withdrawing.told end
    end

    local function wake()  -- those who wait, as many as find something; it may be lost
        local WAITING = workers.WAITING
        if leases.count == 0 and asked.want > 0 then call('ZADD', WAITING, text(now), worker)
        elseif meta.is_quiet or call('ZCARD', WAITING) == 0 then return
        elseif leases.count > 0 then call('ZREM', WAITING, worker) end
        if meta.pending == 0 or events == 0 then return end
        local names, popped = {}, call('ZPOPMIN', WAITING, math.min(meta.pending, events))
        for i = 1, #popped, 2 do
            if popped[i] ~= worker then names[#names + 1] = popped[i] end
        end
        if #names > 0 then call('PUBLISH', asked.channel, table.concat(names, '\n')) end
    end

    local function remember()
        leases.set('call', cmsgpack.pack({number = asked.number, done = done, leases = leases.count, before = own.before}))
        local goes_on = meta.leased + leases.count > 0 or meta.pending > 0 or events > 0  -- the run, see finish_tidy.lua
        if (own.fades or own.is_new) and goes_on then
            call('HDEL', key, 'fades')
            call('PERSIST', key)
            call('PERSIST', workers.ALIVE)
        end
        filter.sweep(16)
        meta.leased = meta.leased + leases.count
        if lazy.is_made(budgets) then budgets.save() end
        meta.save()
        leases.save()
    end

    local function work()
        asked.throttled = asked.rules ~= rules.APART
        leases.begin(worker, asked.number)
        items.bound(asked.bytes)
        meta.is_quiet = call('EXISTS', meta.prefix .. 'stalled', workers.SUSPECT, DELAYED, DEAD_AT, workers.WAITING) == 0
        read_own()
        local told = repeated()
        if told then return told end
        asked.is_ruled = rules.bring(asked, own.is_new)
        if not asked.is_ruled then  -- where nothing can be leased nobody asks for them
            local things = call('EXISTS', meta.prefix .. 'ready', workers.SUSPECT, DELAYED)
            if meta.run ~= 0 or asked.push or things > 0 then return rules.UNKNOWN end
        end
        if asked.own then  -- its rules may leave fewer permits
            permits.come_down()
            mail = mailbox.of(worker)
        end
        renew()
        if asked.budgets then done.used_up = budgets.begin(asked.budgets) end
        push()
        if asked.positions and crawl.move(worker, asked.positions) then done.positioned = 1 end
        if asked.control == 1 and events > 0 then crawl.reopen() end  -- a push after the end opens the run again
        if asked.moved or asked.keep then events = events + transit.settle(asked, done) end
        events = events + settling(asked, own, done)
        promote()
        reclaim()
        lease()
        remember()
        journal.commit()
        pcall(rules.sweep)
        pcall(wake)
        return answer()
    end

    local function fresh()
        now, DELAYED, DEAD_AT = meta.now, meta.prefix .. 'delayed', meta.prefix .. 'dead:at'
        asked = cmsgpack.unpack(ARGV[1])
        worker, key = asked.worker, workers.key_of(asked.worker)
        own, mail, done, first_end, events = nil, nil, {}, nil, 0
    end

    return {take = function() return journal.whole(work) end}, fresh
end)()
