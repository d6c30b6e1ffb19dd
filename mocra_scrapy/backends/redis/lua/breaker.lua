-- The verbs of IBreaker on one shard. ARGV[1], packed: {verb, {default limit}, channel, {slot's threshold, crawl's threshold (0: none),
-- ms of the first hold, ms of the longest, probes}, what the verb needs}. Thresholds: {window ms, failures, share, least}.
local verb, default, channel, rules, a = unpack(cmsgpack.unpack(ARGV[1]))
D, CHANNEL = default, channel
local BUCKETS, TOLD, ALL = 10, 3600000, '@'  -- no slot is called so; ms for which the crawl's last trip is told
local SETTLED = 600000  -- ms after a reset in which downloads that departed before it may still fail
local longest = rules[4]

local function part_of(threshold) return math.floor(now / (threshold[1] / BUCKETS)) end

local function count(c, threshold, total, failed, kinds)  -- kinds: {name, n, ...}
    local part, kept, mine = part_of(threshold), {}, nil
    for _, b in ipairs(c[1]) do
        if b[1] > part - BUCKETS then kept[#kept + 1] = b end
        if b[1] == part then mine = b end
    end
    if not mine then mine = {part, 0, 0, {}}; kept[#kept + 1] = mine end
    mine[2], mine[3] = mine[2] + total, mine[3] + failed
    for i = 1, #kinds, 2 do mine[4][kinds[i]] = (mine[4][kinds[i]] or 0) + kinds[i + 1] end
    c[1] = kept
end

local function summed(c, threshold)  -- downloads, failures, {kind -> failures}
    local total, failed, kinds = 0, 0, {}
    for _, b in ipairs(c[1]) do
        if b[1] > part_of(threshold) - BUCKETS then
            total, failed = total + b[2], failed + b[3]
            for kind, n in pairs(b[4]) do kinds[kind] = (kinds[kind] or 0) + n end
        end
    end
    return total, failed, kinds
end

local function passed(threshold, total, failed)
    if threshold[2] > 0 and failed >= threshold[2] then return true end
    return threshold[3] > 0 and total >= threshold[4] and failed >= threshold[3] * total
end

local function keep(name, c, ms)  -- what is known of it, for so long
    call('HSET', BR, name, cmsgpack.pack(c))
    call('ZADD', BR_AT, text(now + ms), name)
end

local function expire_all()  -- nobody may come to clean up: with the last record the keys go by themselves
    local old = call('ZRANGEBYSCORE', BR_AT, '-inf', text(now), 'LIMIT', 0, 32)
    if #old > 0 then call('HDEL', BR, unpack(old)); call('ZREM', BR_AT, unpack(old)) end
    local last = call('ZRANGE', BR_AT, -1, -1, 'WITHSCORES')[2]
    if last then
        for _, key in ipairs({BR, BR_AT}) do call('PEXPIRE', key, text(math.max(1, tonumber(last) - now + 1000))) end
    end
end

local function probe(name, until_ms)  -- one request at a time until then; 0: as before
    local live = call('HGET', LIVE, name)
    local v = live and cmsgpack.unpack(live) or {-1, -1, -1, 0, 0, 0, 0, 0}
    v[8] = until_ms
    set_live(name, v)
end

local function open_circuit(name, c, before, total, failed, kinds)
    c[3] = c[3] + 1
    local ms = math.min(longest, rules[3] * 2 ^ math.min(c[3] - 1, 40))
    c[1], c[2], c[4] = {}, now + ms, 0
    for worker, permits in pairs(holders_of(name)) do  -- permits of more than one would be as many probes
        if permits > 1 then
            local notes, holds = notes_of(worker)
            notes[name] = 1
            note(worker, notes, holds)
        end
    end
    hold_until(name, c[2] * 1000)
    probe(name, c[2] + longest)
    keep(name, c, ms + longest)
    return {name, before, 1, ms, c[3], failed, total, kinds}
end

local function judge(t)  -- {slot, downloads, failures, {kind, n, ...}, ms of age of the youngest download that went well, that failed}
    local name, threshold, c = t[1], rules[1], circuit(t[1])
    if c[2] == 0 then
        local since = c[5] or 0
        if t[3] > 0 and now - t[6] < since then return nil end
        count(c, threshold, t[2], t[3], t[4])
        local total, failed, kinds = summed(c, threshold)
        if passed(threshold, total, failed) then return open_circuit(name, c, 0, total, failed, kinds) end
        keep(name, c, math.max(threshold[1], since + SETTLED - now))
        return nil
    end
    local over = now - c[2]  -- since when it may be tried
    if t[3] > 0 and over >= t[6] then
        local kinds = {}
        for i = 1, #t[4], 2 do kinds[t[4][i]] = t[4][i + 1] end
        return open_circuit(name, c, 2, t[2], t[3], kinds)
    end
    if over < t[5] then return nil end
    c[4] = c[4] + math.max(0, t[2] - t[3])
    if c[4] < rules[5] then
        keep(name, c, longest)
        probe(name, now + longest)
        return nil
    end
    probe(name, 0)
    stir(name)
    keep(name, {{}, 0, 0, 0}, threshold[1])
    return {name, 2, 0, 0, c[3], 0, c[4], {}}
end

local function look(name)
    local c = circuit(name)
    local total, failed, kinds = 0, 0, {}
    if rules[1] ~= 0 then total, failed, kinds = summed(c, rules[1]) end
    local state = c[2] == 0 and 0 or (now < c[2] and 1 or 2)
    return {name, state, math.max(0, c[2] - now), c[3], c[4], failed, total, kinds}
end

if verb == 'report' then  -- a: {tallies of slots; that of the crawl, or 0} -> {changes, trip: {ms, failures, downloads, kinds} or 0}
    if M.run == 0 then return cmsgpack.pack({{}, 0}) end
    local changes = {}
    for _, t in ipairs(a[1]) do changes[#changes + 1] = judge(t) end
    -- The crawl's record: as a slot's, and behind it the last trip.
    local c, known = circuit(ALL)
    if known and (c[5] or 0) ~= 0 and now > c[5][1] + TOLD then c[5] = 0 end
    if a[2] ~= 0 then
        local threshold = rules[2]
        count(c, threshold, a[2][2], a[2][3], a[2][4])
        local total, failed, kinds = summed(c, threshold)
        if passed(threshold, total, failed) then c[1], c[5] = {}, {now, failed, total, kinds} end
        c[5] = c[5] or 0
        keep(ALL, c, math.max(threshold[1], c[5] ~= 0 and c[5][1] + TOLD - now or 0))
    end
    expire_all()
    return cmsgpack.pack({changes, known and c[5] or (a[2] ~= 0 and c[5]) or 0})
end
if verb == 'look' then return cmsgpack.pack({look(a[1])}) end
if verb == 'tripped' then  -- those that are open are kept for longest
    local out = {}
    for _, name in ipairs(call('ZREVRANGE', BR_AT, 0, 999)) do
        local one = name ~= ALL and look(name)
        if one and one[2] > 0 and #out < a[1] then out[#out + 1] = one end
    end
    return cmsgpack.pack(out)
end
local name = a[1]  -- reset
local c = circuit(name)
if c[2] == 0 then return cmsgpack.pack({0}) end
local held = call('ZSCORE', HOLD, name)
if held and tonumber(held) == c[2] * 1000 then
    call('ZREM', HOLD, name)
    call('ZREM', TAT, name)
    tell(name, now_us)
end
probe(name, 0)
keep(name, {{}, 0, 0, 0, now}, SETTLED)
expire_all()
stir(name)
return cmsgpack.pack({1})
