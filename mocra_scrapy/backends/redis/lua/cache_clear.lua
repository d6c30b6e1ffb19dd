-- uses: cache
-- ARGV: channel, most sorted sets and large values -> 1: call again; 0: all is gone
for kind, key in pairs({s = cache.SETS, v = cache.CUT}) do
    local some = redis.call('HSCAN', key, '0', 'COUNT', ARGV[2])[2]
    for i = 1, #some, 2 do cache.drop(kind .. some[i]) end
    if redis.call('EXISTS', key) == 1 then return 1 end
end
redis.call('UNLINK', cache.VALUES, cache.ENDS, cache.NAMES, cache.ABOUT)
cache.tell(ARGV[1], '*')
return 0
