-- uses: journal meta crawl budgets workers rules transit
-- A worker signs off this shard, at most 200 entries a call. ARGV: worker, isolate_after, '1' on shard 0, channel, lifo
-- -> {given back, 1 when some are left}
local call, worker, isolate_after, control, channel = redis.call, ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4]
local lifo = tonumber(ARGV[5])
local MOST = 200

local function leave()
    local key, tokens = workers.key_of(worker), workers.tokens_of(worker)
    local given = math.min(MOST, #tokens)
    for i = 1, given do
        local placed = call('HGET', key, tokens[i])
        call('HDEL', key, tokens[i])
        journal.note('HSET', key, tokens[i], placed)
        workers.give_back(placed, isolate_after)
    end
    local in_transit, more = transit.give_back(worker, MOST - given, lifo)
    local some_left = #tokens > given or more
    given = given + in_transit
    if not some_left then
        rules.forget(worker)
        if control then crawl.vacate_seeding(worker) end
        workers.forget(worker)
        call('DEL', key, workers.last_of(worker))
    end
    budgets.save()
    meta.save()
    journal.commit()
    if not some_left then pcall(rules.sweep) end
    if given > 0 or meta.pending > 0 then workers.wake_all(channel) end  -- permits of its are free, too
    return {given, some_left and 1 or 0}
end

return journal.whole(leave)
