-- uses: lock
-- ARGV: owner, number, channel, message for those who wait -> 1 or 0
local call, owner, number, channel, message = redis.call, ARGV[1], ARGV[2], ARGV[3], ARGV[4]
lock.expire()
if lock.number_of(owner) ~= number then return 0 end
call('ZREM', lock.UNTIL, owner)
call('HDEL', lock.PERMITS, '@' .. owner)
if call('HDEL', lock.PERMITS, 'awaited') == 1 then call('PUBLISH', channel, message) end
return 1
