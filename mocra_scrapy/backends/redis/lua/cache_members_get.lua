-- uses: cache
-- ARGV: name, low, high, skip, most, '1' for the greatest first -> {member, score, …}
if not cache.left('s' .. ARGV[1]) then return {} end
local low, high, command = ARGV[2], ARGV[3], 'ZRANGEBYSCORE'
if ARGV[6] == '1' then low, high, command = high, low, 'ZREVRANGEBYSCORE' end
return redis.call(command, cache.key_of(ARGV[1]), low, high, 'WITHSCORES', 'LIMIT', ARGV[4], ARGV[5])
