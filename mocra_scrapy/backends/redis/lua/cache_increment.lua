-- uses: cache
-- ARGV: most entries, most bytes, channel, ttl ms of a new one, name, by -> {number} or, of a new one, {number, had to go, more};
-- {} when it can't be counted. The number as text: as one of Lua's it would be exact below 2^53 only.
local name, by = ARGV[5], ARGV[6]
if cache.left('v' .. name) then
    local size = redis.call('HSTRLEN', cache.VALUES, name)
    local counted = redis.pcall('HINCRBY', cache.VALUES, name, by)
    if type(counted) == 'table' then return {} end
    local number = redis.call('HGET', cache.VALUES, name)
    cache.grow('bytes', #number - size)
    cache.tell(ARGV[3], name)
    return {number}
end
local went, more = cache.make_room(1, #name + #by, {entries = tonumber(ARGV[1]), bytes = tonumber(ARGV[2])})
cache.store(name, by, tonumber(ARGV[4]), '')
cache.tell(ARGV[3], name)
return {by, went, more}
