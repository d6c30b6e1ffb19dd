-- uses: meta turns items workers
-- ARGV: how many at most -> {slot, rank, item, ...} of pending entries, the next ones first within a slot
local call, left, out = redis.call, tonumber(ARGV[1]), {}

local function show(rank, slot, some)
    for _, item in ipairs(some) do
        out[#out + 1] = slot
        out[#out + 1] = rank
        out[#out + 1] = item
        left = left - 1
    end
end

local function show_list(slot)
    local ranks = {1, 0}
    for _, rank in ipairs(call('ZRANGE', meta.prefix .. 'i:' .. slot, 0, -1)) do ranks[#ranks + 1] = tonumber(rank) end
    table.sort(ranks, function(a, b) return a > b end)
    for _, rank in ipairs(ranks) do
        if left > 0 then show(rank, slot, call('LRANGE', items.list_key(rank, slot), 0, left - 1)) end
    end
end

for _, member in ipairs(call('ZRANGE', meta.prefix .. 'ready', 0, left - 1)) do
    local gate = turns.name_of_gate(member)
    if not gate then show_list(member)
    elseif left > 0 then
        for _, slot in ipairs(call('ZRANGE', turns.behind(gate), 0, left - 1)) do show_list(slot) end
    end
end
if left > 0 then
    for _, placed in ipairs(call('LRANGE', workers.SUSPECT, 0, left - 1)) do
        local rank, slot, item = items.unplace(placed)
        show(rank, slot, {item})
    end
end
return out
