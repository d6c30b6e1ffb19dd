-- uses: meta throttle departures hold circuits permits mailbox
-- What the breaker's scripts share. ARGV[1] of each, packed, is a map: channel, slot and crawl (thresholds {window ms, failures,
-- share, least, slow share}, or 0), hold and longest, ramp (ms), probes, openings, and what the verb needs.
local breaker = (function()
    local call, text, now = redis.call, meta.text, meta.now
    local CIRCUITS, UNTIL, BUCKETS = circuits.KEY, circuits.UNTIL, 10
    local asked = cmsgpack.unpack(ARGV[1])
    hold.announce_on(asked.channel)

    local function open_threshold(packed)
        if packed == 0 then return nil end
        local window, failures, share, least, slow_share = unpack(packed)
        return {window = window, failures = failures, share = share, least = least, slow_share = slow_share}
    end

    local of_slots, of_crawl = open_threshold(asked.slot), open_threshold(asked.crawl)

    local function oldest_of(threshold) return math.floor(now / (threshold.window / BUCKETS)) - BUCKETS end

    local function count(circuit, threshold, tally)
        local oldest = oldest_of(threshold)
        local current, kept, total, failed, kinds = oldest + BUCKETS, {}, tally.total, tally.failed, {}
        for _, bucket in ipairs(circuit.buckets) do
            local part, its_total, its_failed, its_kinds = unpack(bucket)
            if part == current then total, failed, kinds = total + its_total, failed + its_failed, its_kinds
            elseif part > oldest then kept[#kept + 1] = bucket end
        end
        for kind, n in pairs(tally.kinds) do kinds[kind] = (kinds[kind] or 0) + n end
        kept[#kept + 1] = {current, total, failed, kinds}
        circuit.buckets = kept
    end

    local function summed(circuit, threshold)  -- {total, failed, kinds} within the window
        local sum, oldest = {total = 0, failed = 0, kinds = {}}, oldest_of(threshold)
        for _, bucket in ipairs(circuit.buckets) do
            local part, total, failed, kinds = unpack(bucket)
            if part > oldest then
                sum.total, sum.failed = sum.total + total, sum.failed + failed
                for kind, n in pairs(kinds) do sum.kinds[kind] = (sum.kinds[kind] or 0) + n end
            end
        end
        return sum
    end

    local function is_passed(threshold, sum)
        if threshold.failures > 0 and sum.failed >= threshold.failures then return true end
        if sum.total < threshold.least then return false end
        local slow = sum.kinds.slow or 0
        if threshold.slow_share > 0 and slow > 0 and slow >= threshold.slow_share * sum.total then return true end
        return threshold.share > 0 and sum.failed >= threshold.share * sum.total
    end

    local function try_until(name, until_ms)  -- one request at a time until then; 0: as before
        local change = throttle.change_of(name)
        change.trying_until = until_ms
        throttle.set_change(name, change)
    end

    local function next_probe(name)  -- the last one was judged: the next may go as soon as the usual interval allows
        try_until(name, 0)
        local tat = tonumber(call('ZSCORE', throttle.TAT, name) or nil)
        local due = meta.now_us + throttle.limit_of(name).interval
        if tat and tat > due then
            departures.set_anew(name, due)
            departures.save()
        end
    end

    local function hold_until(name, circuit, until_ms)  -- it is open until then, and tried after that
        circuit.buckets, circuit.held_until, circuit.probes, circuit.longest = {}, until_ms, 0, asked.longest
        for worker, n in pairs(permits.holders_of(name)) do  -- permits of more than one would be as many probes
            if n > 1 then mailbox.ask_to_come_down(worker, name, 1) end
        end
        next_probe(name)
        local held = hold.place(name, circuit.held_until * 1000)  -- the site may have asked for more
        circuits.keep(name, circuit, until_ms - now + asked.longest)
        try_until(name, circuits.outlast(name, held < math.huge and held / 1000 or 0))
    end

    local function ramp_up(name)  -- from a tenth to the whole of what it may
        if asked.ramp == 0 then return end
        local change = throttle.change_of(name)
        change.ramp_from, change.ramp = now, asked.ramp
        throttle.set_change(name, change)
    end

    local function expire_all()  -- nobody may come to clean up: with the last record the keys go by themselves
        local old = call('ZRANGEBYSCORE', UNTIL, '-inf', text(now), 'LIMIT', 0, 32)
        if #old > 0 then call('HDEL', CIRCUITS, unpack(old)); call('ZREM', UNTIL, unpack(old)) end
        local last = call('ZRANGE', UNTIL, -1, -1, 'WITHSCORES')[2]
        if last then
            for _, key in ipairs({CIRCUITS, UNTIL}) do
                call('PEXPIRE', key, text(math.max(1, tonumber(last) - now + 1000)))
            end
        end
    end

    local function state_of(name)  -- {slot, 0 closed 1 open 2 half open, ms, openings, probes, failures, downloads, kinds}
        local circuit, sum = circuits.look_up(name), {total = 0, failed = 0, kinds = {}}
        if of_slots then sum = summed(circuit, of_slots) end
        local state = circuit.held_until == 0 and 0 or (now < circuit.held_until and 1 or 2)
        local wait = math.max(0, circuit.held_until - now)
        return {name, state, wait, circuit.openings, circuit.probes, sum.failed, sum.total, sum.kinds}, state
    end

    return {
        asked = asked, of_slots = of_slots, of_crawl = of_crawl, count = count, summed = summed, is_passed = is_passed,
        try_until = try_until, next_probe = next_probe, hold_until = hold_until, ramp_up = ramp_up,
        expire_all = expire_all, state_of = state_of,
    }
end)()
