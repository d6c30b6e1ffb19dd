-- uses: meta items workers
-- Counts against contents, a part at a time, see mocra_scrapy/backends/redis/audit.py.
-- ARGV: '1' to repair; what: 'lists' or 'workers' or 'ready' or 'counts', then
--   lists    key names behind 'q:', <rank>:<slot> -> {entries, lists that no turn reaches}
--   workers  names -> {entries held, workers whose death nobody would notice}
--   ready    cursor -> {cursor or '0', names without a list}
--   counts   pending and leased as they were found ('-1': not yet), seq, pending and leased that were counted before
--            -> {seq, pending, leased, suspects, 1 when it was repaired}
local call, prefix, text = redis.call, meta.prefix, meta.text
local fixes, what = ARGV[1] == '1', ARGV[2]
local READY = prefix .. 'ready'

local function look_at_lists()
    local entries, lost = 0, 0
    for i = 3, #ARGV do
        local rank, slot = string.match(ARGV[i], '^(-?%d+):(.*)$')
        local length = rank and call('LLEN', items.list_key(tonumber(rank), slot)) or 0
        if length > 0 then
            entries = entries + length
            local index = prefix .. 'i:' .. slot
            local indexed = rank == '0' or rank == '1' or call('ZSCORE', index, rank)
            if not (indexed and call('ZSCORE', READY, slot)) then
                lost = lost + 1
                if fixes then
                    if not indexed then call('ZADD', index, text(-tonumber(rank)), rank) end
                    call('ZADD', READY, 'NX', text(meta.now_us), slot)
                end
            end
        end
    end
    return {entries, lost}
end

local function look_at_workers()
    local held, lost = 0, 0
    for i = 3, #ARGV do
        local n = #workers.tokens_of(ARGV[i])
        held = held + n
        if n > 0 and not workers.ends_at(ARGV[i]) then
            lost = lost + 1
            if fixes then call('ZADD', workers.ALIVE, 'NX', text(meta.now), ARGV[i]) end
        end
    end
    return {held, lost}
end

local function look_at_ready()
    local cursor, found = unpack(call('ZSCAN', READY, ARGV[3], 'COUNT', 200))
    local empty = 0
    for i = 1, #found, 2 do
        local slot, some = found[i], 0
        local index = prefix .. 'i:' .. slot
        for _, rank in ipairs({0, 1, unpack(call('ZRANGE', index, 0, 999))}) do
            local there = call('EXISTS', items.list_key(tonumber(rank), slot))
            some = some + there
            if there == 0 and fixes then call('ZREM', index, rank) end
        end
        if some == 0 then
            empty = empty + 1
            if fixes then call('ZREM', READY, slot) end
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
if what == 'workers' then return look_at_workers() end
if what == 'ready' then return look_at_ready() end
return look_at_counts()
