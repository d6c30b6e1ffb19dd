-- uses: cache
-- ARGV: channel, most sorted sets -> 1: call again; 0: all is gone
local sets = redis.call('HSCAN', cache.SETS, '0', 'COUNT', ARGV[2])[2]
for i = 1, #sets, 2 do cache.drop('s' .. sets[i]) end
if redis.call('EXISTS', cache.SETS) == 1 then return 1 end
redis.call('UNLINK', cache.VALUES, cache.ENDS, cache.NAMES, cache.ABOUT)
cache.tell(ARGV[1], '*')
return 0
