-- uses: lazy journal meta items
-- What a crawl knows of the log that keeps its requests, see ILoggedQueue: positions, and offsets that are finished. An item
-- that came from a log has its origin as the last part of its tag, see items.wrap: '\31\30' .. partition .. '\30' .. offset.
-- A *twin* was in transit when its pusher was gone: it is in line, and in the log perhaps, too. Its name stands there in place
-- of an origin: '\31\30\30' .. token .. ' ' .. worker.
local log = lazy.library(function()
    local call, note, TAGGED = redis.call, journal.note, 193
    local MOST_DONE = 2000  -- then the oldest is forgotten, and comes again if it comes
    local KEY, TWINS, DONE
    local log  -- what it returns

    local function notes_of(partition) return meta.prefix .. 'done:' .. partition end

    local function add(partition, one)  -- '<offset>' or '<first>-<behind the last>' is finished
        local key = notes_of(partition)
        if call('SADD', key, one) == 1 then note('SREM', key, one) end
    end

    local function with_end(item, last)  -- a new item, with that last part of its tag
        local body, tag = string.sub(item, 2), ''
        if string.byte(body) == TAGGED then
            local length = struct.unpack('>H', string.sub(body, 2, 3))
            tag, body = string.sub(body, 4, 3 + length), string.sub(body, 4 + length)
        end
        return '\0' .. items.wrap(body, tag .. '\31\30' .. last)
    end

    local function with_origin(item, partition, offset)  -- as if it came from there
        return with_end(item, partition .. '\30' .. meta.text(offset))
    end

    local function as_twin(item, name)
        call('HSET', TWINS, name, '')
        note('HDEL', TWINS, name)
        return with_end(item, '\30' .. name)
    end

    local function finish_twin(name)
        local place = call('HGET', TWINS, name)
        if not place then return end
        call('HDEL', TWINS, name)
        note('HSET', TWINS, name, place)
        local partition, offset = string.match(place, '^(.*)\30(%d+)$')
        if partition then return add(partition, offset) end
        call('ZADD', DONE, meta.text(meta.now), name)
        note('ZREM', DONE, name)
        call('ZREMRANGEBYRANK', DONE, 0, -MOST_DONE - 1)
    end

    local function has_twin(name, partition, offset)  -- then what comes from there is not to be stored
        local place = call('HGET', TWINS, name)
        if place == '' then  -- it is that one
            call('HSET', TWINS, name, partition .. '\30' .. meta.text(offset))
            note('HSET', TWINS, name, '')
            return true
        end
        local at = not place and call('ZSCORE', DONE, name)
        if not place and not at then return false end
        if at then
            call('ZREM', DONE, name)
            note('ZADD', DONE, at, name)
        end
        add(partition, meta.text(offset))
        return true
    end

    local function finish(item)  -- one that came from no log is nobody's
        local at = items.deliveries(item) == 0 and 2 or 10
        if string.byte(item, at) ~= TAGGED then return end
        local stop = at + 2 + struct.unpack('>H', string.sub(item, at + 1, at + 2))
        local tag = string.sub(item, at + 3, stop)
        local name = string.match(tag, '\31\30\30([^\31]*)$')
        if name then return finish_twin(name) end
        local partition, offset = string.match(tag, '\31\30([^\30]*)\30(%d+)$')
        if partition then add(partition, offset) end
    end

    local function drop()  -- all but the count of moves
        local fields, keys = {}, {TWINS, DONE}
        for _, field in ipairs(call('HKEYS', KEY)) do
            local partition = string.match(field, '^at:(.*)$')
            if partition then keys[#keys + 1] = notes_of(partition) end
            if field ~= 'moves' then fields[#fields + 1] = field end
        end
        call('UNLINK', unpack(keys))
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

    log = {
        KEY = '', TWINS = '', DONE = '', notes_of = notes_of, add = add, with_origin = with_origin, as_twin = as_twin,
        has_twin = has_twin, finish = finish, drop = drop, state = state,
    }

    local function fresh()
        KEY, TWINS, DONE = meta.prefix .. 'log', meta.prefix .. 'twins', meta.prefix .. 'twins:done'
        log.KEY, log.TWINS, log.DONE = KEY, TWINS, DONE
    end

    return log, fresh
end)
