-- uses: lazy journal meta items workers stalled log
-- What is on its way to a log: stored for its pusher, in the pusher's hash, and nobody gets it.
local transit = lazy.library(function()
    local call, note, text = redis.call, journal.note, meta.text
    local DELAYED
    local fields  -- of the worker's hash, to be written
    local positions, moved_to  -- partition -> as it was, or false; as it is to be

    local function line_up(rank, slot, item, due, lifo)  -- as if it were pushed now -> 1 where it may be had now, or 0
        meta.seq = meta.seq + 1
        if due > meta.now and not stalled.why_of(slot) then
            local member = string.format('%014x', meta.seq) .. items.place(rank, slot, item)
            call('ZADD', DELAYED, text(due), member)
            meta.is_quiet = false
            note('ZREM', DELAYED, member)
            return 0
        end
        items.put(rank, slot, {item}, lifo == 1 and rank % 2 == 1)
        return 1
    end

    local function hold(number, rank, slot, due, item)  -- number: of the call
        local n = #fields
        fields[n + 1] = '~' .. string.format('%010x%04x', number, n / 2 + 1)
        fields[n + 2] = text(due) .. ':' .. items.place(rank, slot, item)
        meta.leased = meta.leased + 1
    end

    local function take_back(key)
        for i = 1, #fields, 2 do redis.pcall('HDEL', key, fields[i]) end
    end

    local function save(worker)
        local key = workers.key_of(worker)
        if #fields > 0 then note(take_back, key) end
        meta.in_parts('HSET', key, fields)
    end

    local function let_go(key, field)  -- -> its due and what is placed, or nil
        local stored = call('HGET', key, field)
        if not stored then return nil end
        call('HDEL', key, field)
        note('HSET', key, field, stored)
        meta.leased = math.max(0, meta.leased - 1)
        local due, placed = string.match(stored, '^(%d+):(.*)$')
        return tonumber(due), placed
    end

    local function count(moves)
        if moves == 0 then return end
        call('HINCRBY', log.KEY, 'moves', moves)
        note('HINCRBY', log.KEY, 'moves', -moves)
    end

    local function end_of(names)  -- '<token> <worker>' each, the log has them -> name -> true of those that were in transit
        local of, ended, moves = {}, {}, 0
        for _, name in ipairs(names) do
            local token, worker = string.match(name, '^t(%x+) (.*)$')
            if token then
                local known = of[worker] or {}
                of[worker], known[#known + 1] = known, '~' .. token
            end
        end
        for worker, tokens in pairs(of) do
            local key = workers.key_of(worker)
            for i, stored in ipairs(meta.answers_in_parts('HMGET', key, tokens)) do
                if stored then
                    let_go(key, tokens[i])
                    ended['t' .. string.sub(tokens[i], 2) .. ' ' .. worker], moves = true, moves + 1
                end
            end
        end
        count(moves)
        return ended
    end

    local function is_next(partition, offset)  -- whether it was fed up to there; then it was fed one further
        if positions[partition] == nil then
            positions[partition] = tonumber(call('HGET', log.KEY, 'at:' .. partition) or nil) or false
        end
        if (moved_to[partition] or positions[partition]) ~= offset then return false end
        moved_to[partition] = offset + 1
        return true
    end

    local function settle(asked, done)  -- what the log has now, and what it does not get -> how much may be had now
        local key, moves, ready, flags, taken = workers.key_of(asked.worker), 0, 0, {}, {}
        for i, token in ipairs(asked.moved or {}) do  -- '': of another shard, its place is passed over
            local due, placed, is_taken = nil, nil, false
            if token ~= '' then due, placed = let_go(key, '~' .. string.sub(token, 2))
            elseif asked.at[i] then is_next(unpack(asked.at[i])) end
            if due then
                moves = moves + 1
                is_taken = asked.at and asked.at[i] and is_next(unpack(asked.at[i]))
                if is_taken then
                    local rank, slot, item = items.unplace(placed)
                    ready = ready + line_up(rank, slot, log.with_origin(item, unpack(asked.at[i])), due, asked.lifo)
                end
            end
            flags[i], taken[i] = due and '1' or '0', is_taken and '1' or '0'
        end
        done.moved, done.taken, flags = table.concat(flags), table.concat(taken), {}
        for partition, at in pairs(moved_to) do
            call('HSET', log.KEY, 'at:' .. partition, text(at))
            note('HSET', log.KEY, 'at:' .. partition, text(positions[partition]))
        end
        count(moves)
        for i, token in ipairs(asked.keep or {}) do
            local due, placed = let_go(key, '~' .. string.sub(token, 2))
            if due then
                local rank, slot, item = items.unplace(placed)
                ready = ready + line_up(rank, slot, item, due, asked.lifo)
            end
            flags[i] = due and '1' or '0'
        end
        done.lined_up = table.concat(flags)
        return ready
    end

    local function give_back(worker, most, lifo)  -- of one that left or is dead -> how many; whether some are left
        local key, tokens = workers.key_of(worker), {}
        for _, field in ipairs(call('HKEYS', key)) do
            if string.byte(field) == 126 then tokens[#tokens + 1] = field end
        end
        table.sort(tokens)
        for i = 1, math.min(most, #tokens) do
            local due, placed = let_go(key, tokens[i])
            local rank, slot, item = items.unplace(placed)
            line_up(rank, slot, log.as_twin(item, 't' .. string.sub(tokens[i], 2) .. ' ' .. worker), due, lifo)
        end
        return math.min(most, #tokens), #tokens > most
    end

    local function fresh()
        DELAYED = meta.prefix .. 'delayed'
        fields, positions, moved_to = {}, {}, {}
    end

    return {
        line_up = line_up, hold = hold, save = save, end_of = end_of, settle = settle, give_back = give_back,
    }, fresh
end)
