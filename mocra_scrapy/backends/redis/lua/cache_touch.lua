-- uses: cache
-- ARGV: channel, ttl ms, name -> 1, or 0 when it is not there
local name = ARGV[3]
if not cache.left('v' .. name) then return 0 end
cache.keep('v' .. name, tonumber(ARGV[2]))
cache.tell(ARGV[1], name)
return 1
