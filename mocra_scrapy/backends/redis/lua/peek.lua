-- ARGV[1]: how many at most -> {slot, rank, item, ...} of pending entries, the next ones first within a slot
local left, out = tonumber(ARGV[1]), {}
local function show(rank, slot, items)
    for _, item in ipairs(items) do
        out[#out + 1] = slot
        out[#out + 1] = rank
        out[#out + 1] = item
        left = left - 1
    end
end
for _, slot in ipairs(call('ZRANGE', READY, 0, left - 1)) do
    local ranks = call('ZRANGE', P .. 'i:' .. slot, 0, -1)
    ranks[#ranks + 1] = '1'
    ranks[#ranks + 1] = '0'
    table.sort(ranks, function(a, b) return tonumber(a) > tonumber(b) end)
    for _, rank in ipairs(ranks) do
        if left > 0 then show(tonumber(rank), slot, call('LRANGE', P .. 'q:' .. rank .. ':' .. slot, 0, left - 1)) end
    end
end
if left > 0 then
    for _, placed in ipairs(call('LRANGE', SUSPECT, 0, left - 1)) do
        local rank, slot, item = unplace(placed)
        show(rank, slot, {item})
    end
end
return out
