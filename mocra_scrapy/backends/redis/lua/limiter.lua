-- The verbs of IRateLimiter on one shard. ARGV[1], packed: {verb, {default limit}, channel, what the verb needs}.
local verb, default, channel, a = unpack(cmsgpack.unpack(ARGV[1]))
D, CHANNEL = default, channel

if verb == 'reserve' then  -- a: {{name, ...}, max_wait us} each, and limits -> us to wait or, not booked, -1 - us; for each
    set_limits(a[2])
    local out, names = {}, {}
    for _, wish in ipairs(a[1]) do
        for _, name in ipairs(wish[1]) do names[#names + 1] = name end
    end
    fetch(names)
    for i, wish in ipairs(a[1]) do
        local at = departure(wish[1])
        local wait = math.min(at - now_us, 3600000000)  -- paused: ask again in an hour
        if at - now_us <= wish[2] then
            book(wish[1], at)
            out[i] = text(wait)
        else out[i] = text(-1 - wait) end
    end
    save_departures()
    if M.run == 0 then keep_between_runs() end
    return out
end
local name = a[1]
if verb == 'hold' then  -- a: {name, us; negative: until resumed}
    hold_until(name, a[2] < 0 and math.huge or now_us + a[2])
    keep_between_runs()
    return 1
end
if verb == 'resume' then
    call('ZREM', HOLD, name)
    call('ZREM', TAT, name)
    half_open(name)
    tell(name, now_us)
    stir(name)
    return 1
end
if verb == 'look' then
    local l, at, live = limit_of(name), departure({name}), call('HGET', LIVE, name)
    local v, permits, pending = live and cmsgpack.unpack(live) or {-1, -1, -1}, 0, 0
    for _, n in pairs(holders_of(name)) do permits = permits + n end
    if string.byte(name) ~= 64 then
        for _, rank in ipairs({'0', '1', unpack(call('ZRANGE', P .. 'i:' .. name, 0, 99))}) do
            pending = pending + call('LLEN', P .. 'q:' .. rank .. ':' .. name)
        end
    end
    return cmsgpack.pack({l[1], l[2], l[3], l[4], at == math.huge and -1 or at - now_us, l[5] and l[1] or 0, v[1], v[2], v[3], permits, pending})
end
local live = call('HGET', LIVE, name)
local v = live and cmsgpack.unpack(live) or {-1, -1, -1, 0, 0, 0, 0, 0}
if verb == 'change' then  -- a: {name, interval us, burst, concurrency}, -1 each: as the settings say
    v[1], v[2], v[3] = a[2], a[3], a[4]
elseif verb == 'slow' then  -- a: {name, floor us, recovery, most us, calm ms} -> interval us
    local interval = limit_of(name)[1]
    if v[4] > 0 and now - v[5] < a[5] then return text(interval) end
    v[4], v[5], v[6], v[7] = math.min(a[4], math.max(a[2], 2 * interval)), now, a[3], a[2]
end
set_live(name, v)
local l = limit_of(name)
if verb == 'change' then  -- what a longer interval booked must not outlast the change
    local tat, held = call('ZSCORE', TAT, name), call('ZSCORE', HOLD, name)
    local start = held and tonumber(held) < math.huge and math.max(now_us, tonumber(held)) or now_us
    if tat then call('ZADD', TAT, text(math.min(tonumber(tat), start + l[2] * l[1])), name) end
    stir(name)
end
keep_between_runs()
return text(l[1])
