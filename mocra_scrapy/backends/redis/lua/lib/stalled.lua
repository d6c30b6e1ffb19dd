-- uses: lazy journal meta items dead_letters budgets log
-- Slots that were given up, and why: what is stored of them becomes dead letters, a part with each call that leases. kept:
-- {max_dead: how many letters, dead_ttl: ms for how long or 0}.
local stalled = lazy.library(function()
    local call, note = redis.call, journal.note
    local SCAN = '\31'  -- beside the slots, of which none is called so: where the search of what is delayed goes on
    local MOST = 100  -- letters of one call
    local KEY, DELAYED
    local stalled  -- what it returns; count: letters of this call; is_unfinished: whether some are left
    local is_any  -- asked once a call
    local whys  -- slot -> why it was given up, or false

    local function why_of(list)  -- why the slot of a list was given up; nil or false: it was not
        if is_any == nil then is_any = call('EXISTS', KEY) == 1 end
        if not is_any then return false end
        local slot = string.match(list, '^[^\31]*')
        if whys[slot] == nil then whys[slot] = call('HGET', KEY, slot) end
        return whys[slot]
    end

    local function bury(rank, list, item, kept)
        local more = {0, '', '', '', 0, -1}
        local placed, count = items.place(rank, list, item), items.deliveries(item)
        if items.is_tagged(item) then
            budgets.wait(item, -1)
            log.finish(item)
        end
        dead_letters.write(placed, count, 'stalled', why_of(list), '', kept, nil, more)
        stalled.count = stalled.count + 1
    end

    -- Whether a list is of such a slot: it gives dead letters, and nothing else; whether some are left.
    local function takes(list, kept)
        if not why_of(list) then return false, false end
        local some_left = true
        if stalled.count < MOST then
            local _
            _, some_left = items.take(list, MOST - stalled.count, function(_, rank, item) bury(rank, list, item, kept) end)
        end
        stalled.is_unfinished = stalled.is_unfinished or stalled.count >= MOST or items.is_full()
        return true, some_left
    end

    local function sweep(kept)  -- a part of what is delayed
        why_of('')
        local cursor = is_any and call('HGET', KEY, SCAN)
        if not cursor then return end
        local further, found = unpack(call('ZSCAN', DELAYED, cursor, 'COUNT', MOST))
        for i = 1, #found, 2 do
            local member = found[i]
            local rank, list, item = items.unplace(string.sub(member, 15))
            if why_of(list) and call('ZREM', DELAYED, member) == 1 then  -- a scan may tell one twice
                note('ZADD', DELAYED, found[i + 1], member)
                bury(rank, list, item, kept)
            end
        end
        note('HSET', KEY, SCAN, cursor)
        if further == '0' then call('HDEL', KEY, SCAN)
        else
            call('HSET', KEY, SCAN, further)
            stalled.is_unfinished = true
        end
    end

    local function add(slot, why) call('HSET', KEY, slot, why, SCAN, '0') end

    local function open_again(slot)  -- -> whether it was given up
        local why = call('HGET', KEY, slot)
        if not why then return false end
        call('HDEL', KEY, slot)
        note('HSET', KEY, slot, why)
        whys[slot] = false
        return true
    end

    stalled = {
        KEY = '', count = 0, is_unfinished = false, why_of = why_of, bury = bury, takes = takes, sweep = sweep, add = add,
        open_again = open_again,
    }

    local function fresh()
        KEY, DELAYED = meta.prefix .. 'stalled', meta.prefix .. 'delayed'
        is_any, whys = nil, {}
        stalled.KEY, stalled.count, stalled.is_unfinished = KEY, 0, false
    end

    return stalled, fresh
end)
