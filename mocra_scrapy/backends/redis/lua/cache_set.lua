-- uses: cache
-- ARGV: most entries, most bytes, channel, ttl ms, what a large value was cut into or '', then name, value, …; of a large one
-- nothing for the value -> {how many had to go, 1: more have to go}
local ttl, cut, entries, bytes = tonumber(ARGV[4]), ARGV[5], 0, tonumber(string.match(ARGV[5], '%d+$') or 0)
for i = 6, #ARGV, 2 do
    local name, old = ARGV[i], -#ARGV[i]
    if redis.call('HEXISTS', cache.VALUES, name) == 1 then
        old = cache.size_of(name)
        cache.protect('v' .. name)
    else entries = entries + 1 end
    bytes = bytes + #ARGV[i + 1] - old
end
local went, more = cache.make_room(entries, bytes, {entries = tonumber(ARGV[1]), bytes = tonumber(ARGV[2])})
for i = 6, #ARGV, 2 do
    cache.store(ARGV[i], ARGV[i + 1], ttl, cut)
    cache.tell(ARGV[3], ARGV[i])
end
return {went, more}
