-- uses: term
-- ARGV: candidate, number -> 1 or 0
if not term.is_running or term.leader ~= ARGV[1] or term.number ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'leader', '', 'until', 0)
return 1
