-- uses: coordination cache
-- ARGV: name, members -> how many were there
local name = ARGV[1]
local entry, key = 's' .. name, cache.key_of(name)
if not cache.left(entry) then return 0 end
local removed, bytes = 0, 0
for i = 2, #ARGV do
    if redis.call('ZREM', key, ARGV[i]) == 1 then removed, bytes = removed + 1, bytes + #ARGV[i] end
end
if removed == 0 then return 0 end
cache.grow('members', -removed)
cache.grow('bytes', -bytes)
redis.call('HINCRBY', cache.SETS, name, coordination.text(-bytes))
if redis.call('EXISTS', key) == 0 then cache.drop(entry) end
cache.forget()
return removed
