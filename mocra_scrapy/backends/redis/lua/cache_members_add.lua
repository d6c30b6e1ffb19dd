-- uses: coordination cache
-- ARGV: most entries, most bytes, ttl ms, name, then score, member, … -> {how many are new, had to go, more}
local name, limits = ARGV[4], {entries = tonumber(ARGV[1]), bytes = tonumber(ARGV[2])}
local entry, key, left = 's' .. name, cache.key_of(name), cache.left('s' .. name)
local entries, bytes = 0, left and 0 or #name
for i = 5, #ARGV, 2 do
    if not redis.call('ZSCORE', key, ARGV[i + 1]) then entries, bytes = entries + 1, bytes + #ARGV[i + 1] end
end
cache.protect(entry)
local went, more = cache.make_room(entries, bytes, limits)

local function change(members, size)
    cache.grow('members', members)
    cache.grow('bytes', size)
    redis.call('HINCRBY', cache.SETS, name, coordination.text(size))
end

for i = 5, #ARGV, 2 do redis.call('ZADD', key, ARGV[i], ARGV[i + 1]) end
change(entries, bytes)
while more == 0 and cache.is_full(0, 0, limits) do  -- alone it is too large: the lowest scores go
    change(-1, -#redis.call('ZPOPMIN', key)[1])
    went = went + 1
end
local ttl = math.max(left or 0, tonumber(ARGV[3]))
cache.keep(entry, ttl)
cache.outlive(key, ttl)
return {entries, went, more}
