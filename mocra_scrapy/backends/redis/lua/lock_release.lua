-- uses: lock
-- ARGV: owner, number (0: whatever it holds, and its place in line), channel, message for those who wait -> 1 or 0
local call, owner, number, channel, message = redis.call, ARGV[1], ARGV[2], ARGV[3], ARGV[4]
lock.expire()
local mine = lock.number_of(owner)
if number == '0' then
    number = mine
    if lock.leave_line(owner) then lock.wake(channel, message) end
end
if not mine or mine ~= number then return 0 end
call('ZREM', lock.UNTIL, owner)
call('HDEL', lock.PERMITS, '@' .. owner)
lock.wake(channel, message)
return 1
