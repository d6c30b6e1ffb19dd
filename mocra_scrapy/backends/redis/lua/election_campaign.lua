-- uses: coordination term
-- ARGV: candidate, lease ms -> {leader, number, ms left}, or {} when another one leads
local candidate, lease = ARGV[1], tonumber(ARGV[2])
if term.is_running and term.leader ~= candidate then return {} end
local number = term.is_running and term.number or coordination.text(coordination.greater(term.number))
term.hold(candidate, number, lease)
return {candidate, number, coordination.text(lease)}
