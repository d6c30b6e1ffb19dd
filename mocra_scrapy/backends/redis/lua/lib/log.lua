-- uses: lazy journal meta items
-- What a crawl knows of the log that keeps its requests, see ILoggedQueue: positions, and offsets that are finished. An item
-- that came from a log has its origin as the last part of its tag, see items.wrap: '\31\30' .. partition .. '\30' .. offset.
local log = lazy.library(function()
    local call, note = redis.call, journal.note
    local KEY, TAGGED = meta.prefix .. 'log', 193

    local function notes_of(partition) return meta.prefix .. 'done:' .. partition end

    local function add(partition, one)  -- '<offset>' or '<first>-<behind the last>' is finished
        local key = notes_of(partition)
        if call('SADD', key, one) == 1 then note('SREM', key, one) end
    end

    local function with_origin(item, partition, offset)  -- a new item, as if it came from there
        local body, tag = string.sub(item, 2), ''
        if string.byte(body) == TAGGED then
            local length = struct.unpack('>H', string.sub(body, 2, 3))
            tag, body = string.sub(body, 4, 3 + length), string.sub(body, 4 + length)
        end
        return '\0' .. items.wrap(body, tag .. '\31\30' .. partition .. '\30' .. meta.text(offset))
    end

    local function finish(item)  -- one that came from no log is nobody's
        local at = items.deliveries(item) == 0 and 2 or 10
        if string.byte(item, at) ~= TAGGED then return end
        local stop = at + 2 + struct.unpack('>H', string.sub(item, at + 1, at + 2))
        local partition, offset = string.match(string.sub(item, at + 3, stop), '\31\30([^\30]*)\30(%d+)$')
        if partition then add(partition, offset) end
    end

    local function drop()  -- all but the count of moves
        local fields, keys = {}, {}
        for _, field in ipairs(call('HKEYS', KEY)) do
            local partition = string.match(field, '^at:(.*)$')
            if partition then keys[#keys + 1] = notes_of(partition) end
            if field ~= 'moves' then fields[#fields + 1] = field end
        end
        if #keys > 0 then call('UNLINK', unpack(keys)) end
        if #fields > 0 then call('HDEL', KEY, unpack(fields)) end
    end

    local function state()  -- -> {run, moves, {partition, where it begins, position, ...}}
        local flat, run, moves, begins, positions, out = call('HGETALL', KEY), 0, 0, {}, {}, {}
        for i = 1, #flat, 2 do
            local field, value = flat[i], tonumber(flat[i + 1])
            local kind, partition = string.match(field, '^(%l+):(.*)$')
            if field == 'run' then run = value
            elseif field == 'moves' then moves = value
            elseif kind == 'from' then begins[partition] = value
            elseif kind == 'at' then positions[partition] = value end
        end
        for partition, at in pairs(positions) do
            local n = #out
            out[n + 1], out[n + 2], out[n + 3] = partition, begins[partition] or at, at
        end
        return {run, moves, out}
    end

    return {KEY = KEY, notes_of = notes_of, add = add, with_origin = with_origin, finish = finish, drop = drop, state = state}
end)
