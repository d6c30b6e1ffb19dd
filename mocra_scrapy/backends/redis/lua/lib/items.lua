-- uses: lazy journal meta turns
-- Items: how an entry is stored, and the lists of a slot.
local items = (function()
    local call, text, note = redis.call, meta.text, journal.note
    local TAGGED = 193  -- no msgpack begins with it; whatever else does gets an empty tag in front
    local ORIGIN = 30  -- what the last part of a tag begins with that is no name, see log.lua
    local prefix
    local put_in  -- key, how it is taken back, how many: flat, for there are many of them
    -- Most crawls have no other ranks than 0 and 1, and most lists have more than is taken: what is to be known of each list
    -- is asked of all at once, and of each only where that is not enough.
    local none_ranked  -- of the slots that expect() was told last
    local taken, last_lists  -- slots of which it has to be found out whether they have more; their list of 1 or 0
    local most_bytes, bytes, count, full  -- that an answer may have; these two: handed out until now
    local stopped  -- nothing more is taken, see withdrawing.lua
    local last_rank, last_key  -- the list from which was taken last

    local function place(rank, slot, item) return text(rank) .. ':' .. text(#slot) .. ':' .. slot .. item end

    local function unplace(placed)  -- -> rank, slot, item
        local rank, length, at = string.match(placed, '^(-?%d+):(%d+):()')
        local stop = at + tonumber(length)
        return tonumber(rank), string.sub(placed, at, stop - 1), string.sub(placed, stop)
    end

    local function is_tagged(item)
        local sent = string.byte(item)
        return string.byte(item, (not sent or sent == 0) and 2 or 10) == TAGGED
    end

    -- A body as it is stored; tag: '<"-" where it came again><number of its fingerprint, if any>\31<name>\31<name>...'
    -- of the budgets that it counts for, or nil.
    local function wrap(body, tag)
        if not tag and string.byte(body, 1) ~= TAGGED then return body end
        return string.char(TAGGED) .. struct.pack('>H', #(tag or '')) .. (tag or '') .. body
    end

    local function list_key(rank, slot) return prefix .. 'q:' .. text(rank) .. ':' .. slot end

    -- The ranks 0 and 1 (priority 0, of start() or not) are looked for in any case: nearly all requests have them, so a
    -- slot with no others needs no index, neither a key more nor a call to keep it.
    local function is_indexed(rank) return rank ~= 0 and rank ~= 1 end

    local function take_back()  -- what was put; it was put before anything was taken
        for i = #put_in, 1, -3 do redis.pcall(put_in[i - 1], put_in[i - 2], put_in[i]) end
    end

    local function has_more(slot) return call('EXISTS', list_key(1, slot), list_key(0, slot)) > 0 end

    -- Stores items of one slot and rank. front: at the end from which the next one is taken, the last of them first in
    -- line.
    local function put(rank, slot, some, front)
        local key, n = list_key(rank, slot), #put_in
        local length = call(front and 'LPUSH' or 'RPUSH', key, unpack(some))
        if n == 0 then note(take_back) end
        put_in[n + 1], put_in[n + 2], put_in[n + 3] = key, front and 'LPOP' or 'RPOP', #some
        meta.pending, meta.seq = meta.pending + #some, meta.seq + 1
        if length == #some then
            turns.enter(slot)
            if is_indexed(rank) then
                none_ranked = false
                local index = prefix .. 'i:' .. slot
                if call('ZADD', index, text(-rank), text(rank)) == 1 then note('ZREM', index, text(rank)) end
            end
        end
    end

    -- ------------------------------------------------------------ out again, as many bytes as an answer may have

    local function bound(n) most_bytes = n end

    local function spend(item) bytes, count = bytes + #item, count + 1 end

    local function is_full() return full or stopped end

    local function push_back(key, some, from)  -- to the head of a list: some[from] is the next one then
        local PART = 4000
        for stop = #some, from, -PART do
            local part = {}
            for i = stop, math.max(from, stop - PART + 1), -1 do part[#part + 1] = some[i] end
            call('LPUSH', key, unpack(part))
        end
    end

    local function likely(n)  -- how many of n will fit, by the size of those before; a few at first
        if count == 0 then return math.min(n, 8) end
        return math.min(n, math.max(1, math.ceil((most_bytes - bytes) / (bytes / count))))
    end

    local function pop(rank, slot, n, hand)  -- -> how many; less than n: its list is empty, or the answer is full
        local key, given = list_key(rank, slot), 0
        last_rank, last_key = rank, key
        while given < n do
            local asked = n == 1 and 1 or likely(n - given)
            local got = call('LPOP', key, text(asked))
            if not got then return given end
            note(push_back, key, got, 1)
            for i, item in ipairs(got) do
                if count > 0 and bytes + #item > most_bytes then
                    full = true
                    push_back(key, got, i)
                    note('LPOP', key, #got - i + 1)
                    return given
                end
                if hand(slot, rank, item) ~= false then  -- else it is gone
                    bytes, count = bytes + #item, count + 1
                    given = given + 1
                end
            end
            if #got < asked or stopped then return given end
        end
        return given
    end

    -- Takes up to n items of a slot, best rank first, and gives each to hand(slot, rank, item). Keeps the index exact; its
    -- next turn is the caller's. -> how many; whether it has more: nil, if it is one of many, until find_out()
    local function take(slot, n, hand, is_one_of_many)
        if full or stopped then return 0, true end
        local index, left = prefix .. 'i:' .. slot, n
        local best = not (is_one_of_many and none_ranked) and tonumber(call('ZRANGE', index, '0', '0')[1] or nil) or nil
        local tried = false  -- 0 and 1
        while left > 0 and not (full or stopped) do
            if best and (best > 1 or tried) then
                left = left - pop(best, slot, left, hand)
                -- Its list is empty: the next of the index may stand above 0 and 1, or below.
                if not full and ((left > 0 and not stopped) or call('EXISTS', list_key(best, slot)) == 0) then
                    call('ZREM', index, text(best))
                    note('ZADD', index, text(-best), text(best))
                    best = tonumber(call('ZRANGE', index, 0, 0)[1] or nil)
                end
            elseif tried then break
            else
                left = left - pop(1, slot, left, hand)
                if left > 0 and not (full or stopped) then left = left - pop(0, slot, left, hand) end
                tried = true
            end
        end
        if left < n then meta.pending, meta.seq = math.max(0, meta.pending - (n - left)), meta.seq + 1 end
        if full then return n - left, true end
        if left > 0 and not stopped then return n - left, false end
        if best then return n - left, true end
        if not is_one_of_many or left > 0 or is_indexed(last_rank) then return n - left, has_more(slot) end
        taken[#taken + 1], last_lists[#last_lists + 1] = slot, last_key
        return n, nil
    end

    local items = {
        place = place, unplace = unplace, list_key = list_key, put = put, take = take, bound = bound, spend = spend,
        is_full = is_full, is_tagged = is_tagged, wrap = wrap,
    }
    lazy.with_rest(items, function()  -- what few calls need, or of many slots at once
        local function deliveries(item) return string.byte(item, 1) or 0 end

        local function first_lost(item)  -- ms when it was first taken from a dead worker, or nil
            if deliveries(item) == 0 or #item < 9 then return nil end
            return (struct.unpack('>d', string.sub(item, 2, 9)))
        end

        local function raw_body(item)  -- with its tag
            if deliveries(item) == 0 or #item < 9 then return string.sub(item, 2) end
            return string.sub(item, 10)
        end

        local function body(item)
            local raw = raw_body(item)
            if string.byte(raw, 1) ~= TAGGED or #raw < 3 then return raw end
            return string.sub(raw, 4 + struct.unpack('>H', string.sub(raw, 2, 3)))
        end

        local function tag(item)  -- -> the number, the names; or nil
            local at = deliveries(item) == 0 and 2 or 10
            if string.byte(item, at) ~= TAGGED then return nil end
            local length, names, number = struct.unpack('>H', string.sub(item, at + 1, at + 2)), {}, nil
            if length == 0 then return nil end
            for part in string.gmatch(string.sub(item, at + 3, at + 2 + length), '[^\31]*') do
                if not number then number = part
            elseif part ~= '' and string.byte(part) ~= ORIGIN then names[#names + 1] = part end
            end
            return number, names
        end

        local function redelivered(item, when)  -- the item after one more hand-out that was lost
            local n = math.min(deliveries(item) + 1, 255)
            return string.char(n) .. struct.pack('>d', first_lost(item) or when) .. raw_body(item)
        end

        local function length(list)  -- how many entries are in it
            local n = 0
            for _, rank in ipairs({0, 1, unpack(call('ZRANGE', prefix .. 'i:' .. list, 0, 99))}) do
                n = n + call('LLEN', list_key(tonumber(rank), list))
            end
            return n
        end

        local function count_of(keys)  -- how many of them exist
            local n = 0
            for i = 1, #keys, 4000 do n = n + call('EXISTS', unpack(keys, i, math.min(i + 3999, #keys))) end
            return n
        end

        local function expect(slots)  -- take(..., true) comes for these
            local indexes = {}
            for i, slot in ipairs(slots) do indexes[i] = prefix .. 'i:' .. slot end
            none_ranked = count_of(indexes) == 0
        end

        local function find_out()  -- of what take(..., true) did not know: slots that have more, slots that have not
            local some, starts, more, gone = taken, {}, {}, {}
            local n = count_of(last_lists)
            if n == 0 then
                for i, slot in ipairs(some) do starts[i] = list_key(0, slot) end
            end
            if n == #some then more = some
            elseif n == 0 and count_of(starts) == 0 then gone = some
            else
                for _, slot in ipairs(some) do
                    local here = has_more(slot) and more or gone
                    here[#here + 1] = slot
                end
            end
            taken, last_lists = {}, {}
            return more, gone
        end

        local function stop() stopped = true end

        return {
            deliveries = deliveries, first_lost = first_lost, body = body, redelivered = redelivered,
            length = length, stop = stop, tag = tag, expect = expect, find_out = find_out,
        }
    end)

    local function fresh()
        prefix, put_in = meta.prefix, {}
        none_ranked, taken, last_lists, last_rank, last_key = false, {}, {}, nil, nil
        most_bytes, bytes, count, full, stopped = math.huge, 0, 0, false, false
    end

    return items, fresh
end)()
