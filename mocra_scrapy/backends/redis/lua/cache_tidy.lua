-- uses: cache
-- ARGV: most entries, most bytes -> as cache_set
local went, more = cache.make_room(0, 0, {entries = tonumber(ARGV[1]), bytes = tonumber(ARGV[2])})
return {went, more}
