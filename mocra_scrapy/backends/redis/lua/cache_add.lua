-- uses: cache
-- ARGV: as cache_set, with one name and value -> {} when it is there, or as cache_set
local cut, name, value = ARGV[5], ARGV[6], ARGV[7]
if cache.left('v' .. name) then return {} end
local size = tonumber(string.match(cut, '%d+$') or #value)
local went, more = cache.make_room(1, #name + size, {entries = tonumber(ARGV[1]), bytes = tonumber(ARGV[2])})
cache.store(name, value, tonumber(ARGV[4]), cut)
cache.tell(ARGV[3], name)
return {went, more}
