-- uses: coordination lock
-- ARGV: owner, ttl ms, how many may hold it, ms that it stands in line -> {number, ms left}, or {} when as many do
local call, owner, ttl, limit, patience = redis.call, ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
lock.expire()
local number = lock.number_of(owner)
if not number then
    local free = limit - call('ZCOUNT', lock.UNTIL, '(' .. coordination.text(coordination.now), '+inf')
    if free <= 0 or lock.ahead(owner, free) >= free then
        call('HSET', lock.PERMITS, 'awaited', 1)
        if patience > 0 then lock.stand_in_line(owner, patience) end
        return {}
    end
    lock.leave_line(owner)
    number = coordination.text(coordination.greater(call('HGET', lock.PERMITS, 'last')))
    call('HSET', lock.PERMITS, 'last', number, '@' .. owner, number)
end
lock.hold(owner, ttl)
return {number, coordination.text(ttl)}
