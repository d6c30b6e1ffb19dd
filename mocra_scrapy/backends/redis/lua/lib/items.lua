-- uses: meta
-- Items: how an entry is stored, and the lists of a slot.
local items = (function()
    local call, text, prefix, now_us = redis.call, meta.text, meta.prefix, meta.now_us
    local READY = prefix .. 'ready'

    local function place(rank, slot, item) return text(rank) .. ':' .. #slot .. ':' .. slot .. item end

    local function unplace(placed)  -- -> rank, slot, item
        local rank, length, at = string.match(placed, '^(-?%d+):(%d+):()')
        local stop = at + tonumber(length)
        return tonumber(rank), string.sub(placed, at, stop - 1), string.sub(placed, stop)
    end

    local function deliveries(item) return string.byte(item, 1) or 0 end

    local function first_lost(item)  -- ms when it was first taken from a dead worker, or nil
        if deliveries(item) == 0 or #item < 9 then return nil end
        return (struct.unpack('>d', string.sub(item, 2, 9)))
    end

    local function body(item)
        if deliveries(item) == 0 or #item < 9 then return string.sub(item, 2) end
        return string.sub(item, 10)
    end

    local function redelivered(item, when)  -- the item after one more hand-out that was lost
        local n = math.min(deliveries(item) + 1, 255)
        return string.char(n) .. struct.pack('>d', first_lost(item) or when) .. body(item)
    end

    local function list_key(rank, slot) return prefix .. 'q:' .. text(rank) .. ':' .. slot end

    -- The ranks 0 and 1 (priority 0, of start() or not) are looked for in any case: nearly all requests have them, so a
    -- slot with no others needs no index, neither a key more nor a call to keep it.
    local function is_indexed(rank) return rank ~= 0 and rank ~= 1 end

    -- Stores items of one slot and rank. front: at the end from which the next one is taken, the last of them first in
    -- line.
    local function put(rank, slot, some, front)
        local length = call(front and 'LPUSH' or 'RPUSH', list_key(rank, slot), unpack(some))
        meta.pending = meta.pending + #some
        if length == #some then
            call('ZADD', READY, 'NX', text(now_us), slot)
            if is_indexed(rank) then call('ZADD', prefix .. 'i:' .. slot, text(-rank), text(rank)) end
        end
    end

    local function pop(rank, slot, n, hand)  -- -> how many
        local got = call('LPOP', list_key(rank, slot), n)
        if not got then return 0 end
        for _, item in ipairs(got) do hand(slot, rank, item) end
        return #got
    end

    -- Takes up to n items of a slot, best rank first, and gives each to hand(slot, rank, item). Keeps ready and the index
    -- exact. -> how many
    local function take(slot, n, hand)
        local index, left = prefix .. 'i:' .. slot, n
        local best = tonumber(call('ZRANGE', index, 0, 0)[1] or nil)
        local tried = false  -- 0 and 1
        while left > 0 do
            if best and (best > 1 or tried) then
                left = left - pop(best, slot, left, hand)
                -- Its list is empty: the next of the index may stand above 0 and 1, or below.
                if left > 0 or call('EXISTS', list_key(best, slot)) == 0 then
                    call('ZREM', index, text(best))
                    best = tonumber(call('ZRANGE', index, 0, 0)[1] or nil)
                end
            elseif tried then break
            else
                left = left - pop(1, slot, left, hand)
                if left > 0 then left = left - pop(0, slot, left, hand) end
                tried = true
            end
        end
        meta.pending = math.max(0, meta.pending - (n - left))
        if left > 0 or (not best and call('EXISTS', list_key(1, slot), list_key(0, slot)) == 0) then call('ZREM', READY, slot)
        else call('ZADD', READY, text(now_us), slot) end  -- behind all others
        return n - left
    end

    return {
        place = place, unplace = unplace, deliveries = deliveries, first_lost = first_lost, body = body,
        redelivered = redelivered, list_key = list_key, put = put, take = take,
    }
end)()
