-- uses: term
-- ARGV: candidate, number, lease ms -> 1 or 0
-- A term that ran out is over even if nobody took the role since: its holder has stopped believing in it.
if not term.is_running or term.leader ~= ARGV[1] or term.number ~= ARGV[2] then return 0 end
term.hold(ARGV[1], ARGV[2], tonumber(ARGV[3]))
return 1
