-- uses: cache
-- ARGV: channel, name, value, what a large one is cut into or '' -> 1, or 0 when something else is there, or nothing
local name = ARGV[2]
if not cache.left('v' .. name) then return 0 end
if redis.call('HGET', cache.VALUES, name) ~= ARGV[3] then return 0 end
if (redis.call('HGET', cache.CUT, name) or '') ~= ARGV[4] then return 0 end
cache.drop('v' .. name)
cache.tell(ARGV[1], name)
cache.forget()
return 1
