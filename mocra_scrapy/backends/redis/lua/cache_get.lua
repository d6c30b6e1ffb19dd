-- uses: cache
-- ARGV: bytes after which no more is added, names -> for each {value, ms left}, of a large one {'', ms left, what it is cut
-- into: id:pieces:bytes}; false: there is none; 0: not looked at
local room, out = tonumber(ARGV[1]), {}
for i = 2, #ARGV do
    local left = room > 0 and cache.left('v' .. ARGV[i])
    if room <= 0 then out[i - 1] = 0
    elseif left then
        local value = redis.call('HGET', cache.VALUES, ARGV[i])
        out[i - 1] = {value, left, redis.call('HGET', cache.CUT, ARGV[i]) or nil}
        room = room - (value and #value or 0)
    else out[i - 1] = false end
end
return out
