-- One role. ARGV: verb, candidate, number, lease ms.
-- campaign, leader -> {leader, number, ms left} or {} when another one leads, or nobody; renew, resign -> 1 or 0
local TERM = KEYS[1]
local verb, candidate, number, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local t = call('HMGET', TERM, 'leader', 'number', 'until')
local leader, ends = t[1] or '', tonumber(t[3] or 0)
local taken = leader ~= '' and ends > now

if verb == 'leader' then return taken and {leader, t[2], text(ends - now)} or {} end

if verb == 'campaign' then
    if taken and leader ~= candidate then return {} end
    local term = taken and t[2] or text(greater(t[2]))
    call('HSET', TERM, 'leader', candidate, 'number', term, 'until', text(now + lease))
    return {candidate, term, text(lease)}
end

-- A term that ran out is over even if nobody took the role since: its holder has stopped believing in it.
if not taken or leader ~= candidate or t[2] ~= number then return 0 end
if verb == 'renew' then call('HSET', TERM, 'until', text(now + lease))
else call('HSET', TERM, 'leader', '', 'until', 0) end
return 1
