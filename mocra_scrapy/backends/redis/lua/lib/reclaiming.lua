-- uses: lazy journal meta items workers dead_letters rules crawl log transit
-- What dead workers held, a limited number a call.
local reclaiming = lazy.library(function()
    local call, note, MOST = redis.call, journal.note, 100

    local function take_from(dead, token, asked, done)
        local its_key = workers.key_of(dead)
        local was = call('HGET', its_key, token)
        local rank, slot, item = items.unplace(was)
        local count = items.deliveries(item) + 1
        local placed = items.place(rank, slot, items.redelivered(item, meta.now))
        call('HDEL', its_key, token)
        note('HSET', its_key, token, was)
        if count >= asked.max_deliveries then
            local subject = count == 1 and '1 worker died while it' or count .. ' workers died while they'
            local detail = subject .. ' held it, the last one: ' .. dead
            log.finish(item)
            dead_letters.bury(placed, count, 'deliveries', detail, dead, asked)
            done.given_up = (done.given_up or 0) + 1
        else
            workers.give_back(placed, asked.isolate_after)
            done.reclaimed = (done.reclaimed or 0) + 1
        end
    end

    local function forget(dead, robbed, asked)  -- but for its last call, in case that it is not dead
        local its_key = workers.key_of(dead)
        local last_call, was_robbed = unpack(call('HMGET', its_key, 'call', 'robbed'))
        if last_call then
            local last = {call = last_call, robbed = (robbed or was_robbed) and 1 or 0}
            call('SET', workers.last_of(dead), cmsgpack.pack(last), 'PX', meta.AFTERGLOW)
            note('DEL', workers.last_of(dead))
        end
        local rest = call('HGETALL', its_key)  -- its tokens are gone
        call('DEL', its_key)
        if #rest > 0 then note('HSET', its_key, unpack(rest)) end
        workers.forget(dead)
        rules.forget(dead)
        if asked.control == 1 then crawl.vacate_seeding(dead) end
    end

    local function take(all_dead, asked, done)  -- asked and done as exchange.lua has them. -> how much there is to lease again
        local left, before = MOST, done.reclaimed or 0
        workers.set_free()
        for _, dead in ipairs(all_dead) do
            local tokens = workers.tokens_of(dead)
            local taken = math.min(#tokens, left)
            for i = 1, taken do take_from(dead, tokens[i], asked, done) end
            left = left - taken
            local in_transit, some_left = transit.give_back(dead, left, asked.lifo)
            if in_transit > 0 then done.reclaimed, left = (done.reclaimed or 0) + in_transit, left - in_transit end
            if #tokens > taken or some_left then
                if call('HSET', workers.key_of(dead), 'robbed', 1) == 1 then note('HDEL', workers.key_of(dead), 'robbed') end
            else forget(dead, taken + in_transit > 0, asked) end
        end
        return (done.reclaimed or 0) - before
    end

    return {take = take}
end)
