-- uses: cache
-- ARGV: name, low, high -> how many
if not cache.left('s' .. ARGV[1]) then return 0 end
return redis.call('ZCOUNT', cache.key_of(ARGV[1]), ARGV[2], ARGV[3])
