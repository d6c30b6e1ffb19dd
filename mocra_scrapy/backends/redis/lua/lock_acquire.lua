-- uses: coordination lock
-- ARGV: owner, ttl ms, how many may hold it -> {number, ms left}, or {} when as many do
local call, owner, ttl, limit = redis.call, ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
lock.expire()
local number = lock.number_of(owner)
if not number then
    if call('ZCOUNT', lock.UNTIL, '(' .. coordination.text(coordination.now), '+inf') >= limit then
        call('HSET', lock.PERMITS, 'awaited', 1)
        return {}
    end
    number = coordination.text(coordination.greater(call('HGET', lock.PERMITS, 'last')))
    call('HSET', lock.PERMITS, 'last', number, '@' .. owner, number)
end
lock.hold(owner, ttl)
return {number, coordination.text(ttl)}
