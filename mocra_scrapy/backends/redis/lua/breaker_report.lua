-- uses: meta hold circuits breaker failing
-- ARGV[1]: see lib/breaker.lua; tallies of slots; total: that of the crawl, or 0. A tally is {slot, downloads, failures,
-- {kind, n, ...}, ms of age of the youngest download that went well, of the youngest that failed}
-- -> {changes {slot, before, after, ms of the hold, openings, failures, downloads, kinds, why it is given
-- up or nothing}, trip: {ms, failures, downloads,
-- kinds} or 0}, packed
local now, asked = meta.now, breaker.asked
local CLOSED, OPEN, HALF_OPEN = 0, 1, 2
local TOLD, SETTLED = 3600000, 600000  -- ms for which the crawl's last trip is told; see breaker_reset.lua

local function open_tally(packed)
    local name, total, failed, flat, good_age, failed_age = unpack(packed)
    local kinds = {}
    for i = 1, #flat, 2 do kinds[flat[i]] = flat[i + 1] end
    return {name = name, total = total, failed = failed, kinds = kinds, good_age = good_age, failed_age = failed_age}
end

local function open_circuit(name, circuit, before, sum)
    circuit.openings = circuit.openings + 1
    local is_proxy = string.sub(name, 1, 6) == 'proxy:'  -- nothing is stored of it
    if asked.openings > 0 and circuit.openings >= asked.openings and not is_proxy then
        local why = string.format('its circuit opened %d times in a row, the last probe failed', circuit.openings)
        failing.give_up(name, why)
        return {name, before, OPEN, 0, circuit.openings, sum.failed, sum.total, sum.kinds, why}
    end
    local ms = math.min(asked.longest, asked.hold * 2 ^ math.min(circuit.openings - 1, 40))
    breaker.hold_until(name, circuit, now + ms)
    if before == HALF_OPEN then hold.reschedule(name) end  -- what waits for the next probe waits for the end of the hold now
    return {name, before, OPEN, ms, circuit.openings, sum.failed, sum.total, sum.kinds}
end

local function judge_closed(tally, circuit)
    local name, threshold, since = tally.name, breaker.of_slots, circuit.reset_at or 0
    if tally.failed > 0 and now - tally.failed_age < since then return nil end  -- it departed before the reset
    breaker.count(circuit, threshold, tally)
    local sum = breaker.summed(circuit, threshold)
    if breaker.is_passed(threshold, sum) then return open_circuit(name, circuit, CLOSED, sum) end
    circuits.keep(name, circuit, math.max(threshold.window, since + SETTLED - now))
    return nil
end

local function judge_held(tally, circuit)
    local name, since = tally.name, now - circuit.held_until  -- ms for which it may be tried
    local is_bad = tally.failed > 0 or (tally.kinds.slow or 0) > 0
    if is_bad and since >= tally.failed_age then return open_circuit(name, circuit, HALF_OPEN, tally) end
    if since < tally.good_age then return nil end
    circuit.probes = circuit.probes + math.max(0, tally.total - tally.failed)
    breaker.next_probe(name)
    if circuit.probes < asked.probes then
        circuits.keep(name, circuit, asked.longest)
        breaker.try_until(name, now + asked.longest)
        hold.reschedule(name)
        return nil
    end
    breaker.ramp_up(name)
    hold.reschedule(name)
    circuits.keep(name, circuits.closed(), breaker.of_slots.window)
    return {name, HALF_OPEN, CLOSED, 0, circuit.openings, 0, circuit.probes, {}}
end

local function judge_crawl()  -- -> its last trip, or 0
    local circuit, is_known = circuits.look_up(circuits.THE_CRAWL)
    local trip = circuit.trip
    if trip and now > trip[1] + TOLD then trip = nil end
    if asked.total == 0 then return is_known and trip or 0 end
    local threshold = breaker.of_crawl
    breaker.count(circuit, threshold, open_tally(asked.total))
    local sum = breaker.summed(circuit, threshold)
    if breaker.is_passed(threshold, sum) then
        trip = {now, sum.failed, sum.total, sum.kinds}
        circuit.buckets = {}
    end
    circuit.trip = trip
    circuits.keep(circuits.THE_CRAWL, circuit, math.max(threshold.window, trip and trip[1] + TOLD - now or 0))
    return trip or 0
end

if meta.run == 0 then return cmsgpack.pack({{}, 0}) end
local changes = {}
for _, packed in ipairs(asked.tallies) do
    local tally = open_tally(packed)
    local circuit = circuits.look_up(tally.name)
    changes[#changes + 1] = (circuit.held_until == 0 and judge_closed or judge_held)(tally, circuit)
end
local trip = judge_crawl()
breaker.expire_all()
return cmsgpack.pack({changes, trip})
