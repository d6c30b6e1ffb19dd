-- uses: coordination term
-- ARGV: candidate, number, lease ms -> 1 or 0
-- A term that ran out is over even if nobody took the role since: its holder has stopped believing in it.
if not term.is_running or term.leader ~= ARGV[1] or term.number ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'until', coordination.text(coordination.now + tonumber(ARGV[3])))
return 1
