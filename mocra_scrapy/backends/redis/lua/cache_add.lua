-- uses: cache
-- ARGV: most entries, most bytes, channel, ttl ms, name, value -> {} when it is there, or as cache_set
local name, value = ARGV[5], ARGV[6]
if cache.left('v' .. name) then return {} end
local went, more = cache.make_room(1, #name + #value, {entries = tonumber(ARGV[1]), bytes = tonumber(ARGV[2])})
cache.store(name, value, tonumber(ARGV[4]))
cache.tell(ARGV[3], name)
return {went, more}
