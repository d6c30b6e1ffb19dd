-- -> {name, ms left, entries held, ...}
local out = {}
local all = call('ZRANGE', WORKERS, 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
    local held = 0
    for _, token in ipairs(call('HKEYS', held_by(all[i]))) do
        if string.find(token, '^%x%x%x%x%x%x%x%x%x%x%x%x%x%x$') then held = held + 1 end
    end
    out[#out + 1] = all[i]
    out[#out + 1] = tonumber(all[i + 1]) - now
    out[#out + 1] = held
end
return out
