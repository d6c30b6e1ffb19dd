-- uses: lazy journal meta items budgets
-- What workers hold, and who waits for a wake-up.
local workers = (function()
    local call, text = redis.call, meta.text
    local prefix, ALIVE, WAITING, SUSPECT
    local renewed, its_end  -- the worker that calls, ms when its lease ends
    local workers  -- what it returns

    local function key_of(worker) return prefix .. 'w:' .. worker end

    local function last_of(worker) return prefix .. 'last:' .. worker end

    -- Where nobody called for so long that some would be taken for dead, it was the server that was away, or its clock was set
    -- ahead. Nobody died of it: all may be silent for longer, by as much.
    local function sit_out(lease)
        local gap, later = meta.now - meta.heard, {}
        if meta.heard > 0 and gap > lease / 2 then
            local ends = call('ZRANGE', ALIVE, 0, -1, 'WITHSCORES')
            for i = 1, #ends, 2 do later[i], later[i + 1] = text(tonumber(ends[i + 1]) + gap), ends[i] end
            meta.in_parts('ZADD', ALIVE, later)
            meta.silence = gap
        end
        meta.heard = meta.now
    end

    local function renew(worker, lease)
        sit_out(lease)
        renewed, its_end = worker, meta.now + lease
        call('ZADD', ALIVE, text(its_end), worker)
    end

    local function ends_at(worker)  -- ms, or nil
        if worker == renewed then return its_end end
        return tonumber(call('ZSCORE', ALIVE, worker) or nil)
    end

    workers = {
        ALIVE = '', WAITING = '', SUSPECT = '', key_of = key_of, last_of = last_of, renew = renew,
        ends_at = ends_at,
    }
    lazy.with_rest(workers, function()  -- of what they held
        local TOKEN = '^%x%x%x%x%x%x%x%x%x%x%x%x%x%x$'  -- other fields of a worker's hash look different

        local function tokens_of(worker)  -- of all that it holds, newest first: put to the front in this order the oldest is next
            local out = {}
            for _, token in ipairs(call('HKEYS', key_of(worker))) do
                if string.find(token, TOKEN) then out[#out + 1] = token end
            end
            table.sort(out, function(a, b) return a > b end)
            return out
        end

        local function held_by(worker)  -- how many entries, those in transit included
            local n = 0
            for _, field in ipairs(call('HKEYS', key_of(worker))) do
                if string.find(field, TOKEN) or string.byte(field) == 126 then n = n + 1 end
            end
            return n
        end

        local function give_back(placed, isolate_after)  -- as it is, first in line; a suspect to where suspects wait
            local rank, slot, item = items.unplace(placed)
            if items.is_tagged(item) then budgets.wait(item, 1) end
            if items.deliveries(item) >= isolate_after then
                call('LPUSH', SUSPECT, placed)
                meta.is_quiet = false
                journal.note('LPOP', SUSPECT)
                meta.pending, meta.seq = meta.pending + 1, meta.seq + 1
            else
                items.put(rank, slot, {item}, true)
            end
            meta.leased = math.max(0, meta.leased - 1)
        end

        -- Somebody left or is dead: whatever waits for want of permits may have some of its, see turns.lua. On a shard on which
        -- nothing waits it leaves no trace.
        local function set_free()
            if meta.pending > 0 then meta.freed = meta.now_us end
        end

        local function forget(worker)
            local ends = ends_at(worker)
            renewed = nil
            call('ZREM', ALIVE, worker)
            if ends then journal.note('ZADD', ALIVE, text(ends), worker) end
            call('ZREM', WAITING, worker)
            set_free()
        end

        local function wake_all(channel)  -- where anybody waits. It may be lost, so it never fails
            if redis.pcall('ZCARD', WAITING) ~= 0 then
                redis.pcall('DEL', WAITING)
                redis.pcall('PUBLISH', channel, '*')
            end
        end

        return {
            tokens_of = tokens_of, held_by = held_by, give_back = give_back,
            set_free = set_free, forget = forget, wake_all = wake_all,
        }
    end)

    local function fresh()
        prefix, renewed, its_end = meta.prefix, nil, nil
        ALIVE, WAITING, SUSPECT = prefix .. 'workers', prefix .. 'waiting', prefix .. 'suspect'
        workers.ALIVE, workers.WAITING, workers.SUSPECT = ALIVE, WAITING, SUSPECT
    end

    return workers, fresh
end)()
