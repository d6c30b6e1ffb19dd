-- uses: coordination
-- The term of one role, as it is stored. The key of it is KEYS[1]. is_running: somebody leads.
local term = (function()
    local leader, number, ends = unpack(redis.call('HMGET', KEYS[1], 'leader', 'number', 'until'))
    leader, ends = leader or '', tonumber(ends or 0)
    return {leader = leader, number = number, ends = ends, is_running = leader ~= '' and ends > coordination.now}
end)()
