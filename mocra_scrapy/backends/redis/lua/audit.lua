-- uses: meta turns items workers
-- Counts against contents, a part at a time, see mocra_scrapy/backends/redis/audit.py.
-- ARGV: '1' to repair; what: 'lists', 'gates', 'workers', 'ready' or 'counts', then
--   lists    key names behind 'q:', <rank>:<slot> -> {entries, lists that no turn reaches, or that stand in two places}
--   gates    key names behind 'behind:' -> {0, gates that no turn reaches}
--   workers  names -> {entries held, workers whose death nobody would notice}
--   ready    cursor -> {cursor or '0', names without a list, gates with nothing behind them}
--   counts   pending and leased as they were found ('-1': not yet), seq, pending and leased that were counted before
--            -> {seq, pending, leased, suspects, 1 when it was repaired}
local call, prefix, text = redis.call, meta.prefix, meta.text
local fixes, what = ARGV[1] == '1', ARGV[2]
local READY = prefix .. 'ready'

local function is_in_line(slot)  -- in one place, from which a turn reaches it
    local places, is_reached = {}, false
    if call('ZSCORE', READY, slot) then places[1], is_reached = READY, true end
    if string.find(slot, '\31', 1, true) then
        for name in string.gmatch(slot .. '\31', '(.-)\31') do
            if call('ZSCORE', turns.behind(name), slot) then
                places[#places + 1] = turns.behind(name)
                if call('ZSCORE', READY, turns.gate_of(name)) then is_reached = true end
            end
        end
    end
    if is_reached and #places == 1 then return true end
    if fixes then
        for _, key in ipairs(places) do call('ZREM', key, slot) end
        call('ZADD', READY, text(meta.now_us), slot)
    end
    return false
end

local function look_at_lists()
    local entries, lost = 0, 0
    for i = 3, #ARGV do
        local rank, slot = string.match(ARGV[i], '^(-?%d+):(.*)$')
        local length = rank and call('LLEN', items.list_key(tonumber(rank), slot)) or 0
        if length > 0 then
            entries = entries + length
            local index = prefix .. 'i:' .. slot
            local indexed = rank == '0' or rank == '1' or call('ZSCORE', index, rank)
            if not indexed and fixes then call('ZADD', index, text(-tonumber(rank)), rank) end
            if not (is_in_line(slot) and indexed) then lost = lost + 1 end
        end
    end
    return {entries, lost}
end

local function look_at_gates()
    local lost = 0
    for i = 3, #ARGV do
        local gate = turns.gate_of(ARGV[i])
        if call('EXISTS', turns.behind(ARGV[i])) == 1 and not call('ZSCORE', READY, gate) then
            lost = lost + 1
            if fixes then call('ZADD', READY, text(meta.now_us), gate) end
        end
    end
    return {0, lost}
end

local function look_at_workers()
    local held, lost = 0, 0
    for i = 3, #ARGV do
        local n = workers.held_by(ARGV[i])
        held = held + n
        if n > 0 and not workers.ends_at(ARGV[i]) then
            lost = lost + 1
            if fixes then call('ZADD', workers.ALIVE, 'NX', text(meta.now), ARGV[i]) end
        end
    end
    return {held, lost}
end

local function has_something(slot)
    local index, some = prefix .. 'i:' .. slot, 0
    for _, rank in ipairs({0, 1, unpack(call('ZRANGE', index, 0, 999))}) do
        local there = call('EXISTS', items.list_key(tonumber(rank), slot))
        some = some + there
        if there == 0 and fixes then call('ZREM', index, rank) end
    end
    return some > 0
end

local function look_at_ready()
    local cursor, found = unpack(call('ZSCAN', READY, ARGV[3], 'COUNT', 200))
    local empty = 0
    for i = 1, #found, 2 do
        local member = found[i]
        local gate = turns.name_of_gate(member)
        local is_there
        if gate then is_there = call('EXISTS', turns.behind(gate)) == 1 else is_there = has_something(member) end
        if not is_there then
            empty = empty + 1
            if fixes then call('ZREM', READY, member) end
        end
    end
    return {cursor, empty}
end

local function look_at_counts()
    local pending, leased, seq = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
    local suspects, repaired = call('LLEN', workers.SUSPECT), 0
    local before = {meta.seq, meta.pending, meta.leased, suspects}
    local same = seq == meta.seq and tonumber(ARGV[6]) == meta.pending and tonumber(ARGV[7]) == meta.leased
    if fixes and pending >= 0 and same then  -- else somebody worked meanwhile
        meta.pending, meta.leased, repaired = pending + suspects, leased, 1
        meta.save()
    end
    before[5] = repaired
    return before
end

if what == 'lists' then return look_at_lists() end
if what == 'gates' then return look_at_gates() end
if what == 'workers' then return look_at_workers() end
if what == 'ready' then return look_at_ready() end
return look_at_counts()
