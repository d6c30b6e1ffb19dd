-- uses: lock
-- ARGV: owner, number, ttl ms -> 1 or 0
local owner, number, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
lock.expire()
if lock.number_of(owner) ~= number then return 0 end
lock.hold(owner, ttl)
return 1
