-- uses: lazy journal meta items responses
-- Dead letters of one shard.
local dead_letters = lazy.library(function()
    local call, text = redis.call, meta.text
    local now, DEAD, DEAD_AT
    local dead_letters  -- what it returns

    local function drop(ids)
        if #ids == 0 then return end
        responses.drop(ids)
        local letters, times = {}, {}
        for i, packed in ipairs(call('HMGET', DEAD, unpack(ids))) do
            if packed then
                letters[#letters + 1], letters[#letters + 2] = ids[i], packed
                times[#times + 1], times[#times + 2] = string.match(ids[i], '^%d+'), ids[i]
            end
        end
        if #letters > 0 then
            journal.note('HSET', DEAD, unpack(letters))
            journal.note('ZADD', DEAD_AT, unpack(times))
        end
        call('HDEL', DEAD, unpack(ids))
        call('ZREM', DEAD_AT, unpack(ids))
    end

    local function expire(ttl)  -- bounded; those that are too old and still there are passed over, see letter_search.lua
        if ttl > 0 then drop(call('ZRANGEBYSCORE', DEAD_AT, '-inf', text(now - ttl), 'LIMIT', 0, 100)) end
    end

    -- Stores a letter. count: hand-outs it had; kept: {max_dead: how many letters, dead_ttl: ms for how long or 0}; body:
    -- what a replay puts back; more: the last part of a letter, see meta.lua; delivery: what this returned for the first
    -- letter of the same delivery; answer: {kind, response} of the burial -> delivery, whether the response was kept
    local function write(placed, count, reason, detail, worker, kept, body, more, delivery, answer)
        local rank, slot, item = items.unplace(placed)
        meta.seq = meta.seq + 1
        local id = string.format('%013.0f-%08.0f', now, meta.seq % 100000000)
        local lost = items.first_lost(item) or -1
        local letter = {slot, rank, count, lost, body or items.body(item), reason, detail, worker, now, more, delivery or id}
        call('HSET', DEAD, id, cmsgpack.pack(letter))
        meta.is_quiet = false
        journal.note('HDEL', DEAD, id)
        call('ZADD', DEAD_AT, text(now), id)
        journal.note('ZREM', DEAD_AT, id)
        local over = math.min(100, call('ZCARD', DEAD_AT) - kept.max_dead)
        if over > 0 then drop(call('ZRANGE', DEAD_AT, 0, over - 1)) end
        for _, key in ipairs({DEAD, DEAD_AT}) do  -- nobody may come to clean up: with the last letter the keys go by themselves
            if kept.dead_ttl > 0 then call('PEXPIREAT', key, text(now - meta.ahead + kept.dead_ttl)) else call('PERSIST', key) end
        end
        local is_there = answer and call('HEXISTS', DEAD, id) == 1
        return delivery or id, is_there and responses.keep(id, answer.kind, answer.response, kept)
    end

    local function bury(placed, count, reason, detail, worker, kept)  -- a leased entry becomes a dead letter
        write(placed, count, reason, detail, worker, kept, nil, {0, '', '', '', 0, -1})
        meta.leased = math.max(0, meta.leased - 1)
    end

    dead_letters = {DEAD = '', DEAD_AT = '', drop = drop, expire = expire, write = write, bury = bury}

    local function fresh()
        now, DEAD, DEAD_AT = meta.now, meta.prefix .. 'dead', meta.prefix .. 'dead:at'
        dead_letters.DEAD, dead_letters.DEAD_AT = DEAD, DEAD_AT
    end

    return dead_letters, fresh
end)
