-- uses: coordination
-- The term of one role, as it is stored. The key of it is KEYS[1]. is_running: somebody leads.
local term = (function()
    coordination.steady(KEYS[1])
    local leader, number, ends = unpack(redis.call('HMGET', KEYS[1], 'leader', 'number', 'until'))
    leader, ends = leader or '', tonumber(ends or 0)

    local function hold(candidate, n, lease)  -- from now
        local now = coordination.now
        redis.call('HSET', KEYS[1], 'leader', candidate, 'number', n, 'until', coordination.text(now + lease),
            'heard', coordination.text(now))
    end

    return {leader = leader, number = number, is_running = leader ~= '' and ends > coordination.now, ends = ends, hold = hold}
end)()
