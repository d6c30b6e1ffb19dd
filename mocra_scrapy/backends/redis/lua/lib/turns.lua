-- uses: lazy journal meta
-- Who is served next. In ready are lists, and gates: a list of several names that has to wait for one of them stands behind
-- the gate of that name, and those behind a gate take turns as one, who was served longest ago first. So what waits for one
-- name is looked at when its time comes, not each of its lists. A list that has something is in one place: in ready, or
-- behind one gate that is in ready.
--
-- Scores of ready: up to now: since when it waits for its turn; above: before which it can't be served, us, inf while its
-- name is paused; from PARKED on: PARKED + us when its name was found to have no permit left. What is parked is looked at by
-- those who hold permits of it, and by all others again when some came free: given back, by a worker that left or died, by
-- a change of the limit. In any case after LONG, and a few at a time when somebody asks for permits, see limited.lua.
local turns = (function()
    local call, text, note = redis.call, meta.text, journal.note
    local GATE, PARKED, FIRST_PARKED, LAST_PARKED = '\31\31', 4e15, '4000000000000000', '8000000000000000'
    local LONG = 60000000  -- us
    local MOST = 200  -- that are looked at again by one call
    local READY, now_us, now_text
    local none_parked  -- it was found out that nothing is
    local placed  -- score, member, …: of many at once, none of them twice

    local function gate_of(name) return GATE .. name end

    local function name_of_gate(member)  -- nil: it is a list
        return string.byte(member) == 31 and string.sub(member, 1, 2) == GATE and string.sub(member, 3) or nil
    end

    local function behind(name) return meta.prefix .. 'behind:' .. name end

    -- ------------------------------------------------------------ in, out, from one place to another

    local function enter(list)  -- it has something now, unless it had before
        if string.find(list, '\31', 1, true) then
            for name in string.gmatch(list .. '\31', '(.-)\31') do
                if call('ZSCORE', behind(name), list) then return end
            end
        end
        if call('ZADD', READY, 'NX', now_text, list) == 1 then note('ZREM', READY, list) end
    end

    local function remove(member)
        if call('ZREM', READY, member) == 1 then note('ZADD', READY, 'NX', now_text, member) end
    end

    local function enter_again(members)
        for _, member in ipairs(members) do call('ZADD', READY, 'NX', now_text, member) end
    end

    local function remove_all(members)
        if #members > 0 then note(enter_again, members) end
        meta.in_parts('ZREM', READY, members)
    end

    local function place(member, score)
        if score >= PARKED then none_parked = false end
        call('ZADD', READY, 'XX', score == now_us and now_text or text(score), member)
    end

    local function place_later(member, score)
        if score >= PARKED then none_parked = false end
        placed[#placed + 1] = score == now_us and now_text or text(score)
        placed[#placed + 1] = member
    end

    local function place_all()
        for i = 1, #placed, 4000 do call('ZADD', READY, 'XX', unpack(placed, i, math.min(i + 3999, #placed))) end
        placed = {}
    end

    -- ------------------------------------------------------------ whose turn it is

    local function line(most)  -- flat: list or gate, since when it waits
        return call('ZRANGEBYSCORE', READY, '-inf', now_text, 'WITHSCORES', 'LIMIT', 0, most)
    end

    local function first_parked()  -- the score of the first that is parked, or nil
        if none_parked then return nil end
        local at = call('ZRANGEBYSCORE', READY, FIRST_PARKED, LAST_PARKED, 'WITHSCORES', 'LIMIT', 0, 1)[2]
        none_parked = not at
        return tonumber(at or nil)
    end

    local turns = {
        gate_of = gate_of, name_of_gate = name_of_gate, behind = behind, enter = enter, remove = remove, remove_all = remove_all,
        place = place, place_later = place_later, place_all = place_all, line = line, first_parked = first_parked,
    }
    lazy.with_rest(turns, function()  -- gates, and what is parked
        local function parked_now() return PARKED + now_us end

        local function leave(list, since, gate)  -- gate: the name whose gate it stands behind, or nil
            if not gate then return remove(list) end
            if call('ZREM', behind(gate), list) == 1 then note('ZADD', behind(gate), text(since), list) end
            if call('EXISTS', behind(gate)) == 0 then remove(gate_of(gate)) end
        end

        local function move(list, since, from, to, score)  -- behind the gate of `to`, which is served at score
            leave(list, since, from)
            call('ZADD', behind(to), text(since), list)
            note('ZREM', behind(to), list)
            local gate = gate_of(to)
            if score >= PARKED then none_parked = false end
            if call('ZADD', READY, 'NX', text(score), gate) == 1 then note('ZREM', READY, gate) else place(gate, score) end
        end

        local function step_out(list, since, gate)  -- in ready again, behind all others
            leave(list, since, gate)
            call('ZADD', READY, now_text, list)
            note('ZREM', READY, list)
        end

        local function served(list, gate) call('ZADD', behind(gate), 'XX', now_text, list) end  -- it stays where it is

        local function heads(name, from, most)  -- of those behind a gate, flat: list, since when it waits
            return call('ZRANGE', behind(name), from, from + most - 1, 'WITHSCORES')
        end

        local function look_again(names)  -- what waits for them is
            local args = {}
            for _, name in ipairs(names) do
                for _, member in ipairs({name, gate_of(name)}) do
                    args[#args + 1] = now_text
                    args[#args + 1] = member
                end
            end
            for i = 1, #args, 2000 do call('ZADD', READY, 'XX', unpack(args, i, math.min(i + 1999, #args))) end
        end

        local function sooner(names)  -- a departure of these came free
            for _, name in ipairs(names) do call('ZADD', READY, 'XX', 'LT', now_text, name, now_text, gate_of(name)) end
        end

        -- ------------------------------------------------------------ those that are parked

        local function is_parked(score) return score and score >= PARKED and score <= 2 * PARKED end

        local function open(names)  -- permits of them came free -> how many of these others waited for
            if #names == 0 then return 0 end
            local members, opened = {}, {}
            for _, name in ipairs(names) do
                members[#members + 1] = name
                members[#members + 1] = gate_of(name)
            end
            for i, score in ipairs(meta.answers_in_parts('ZMSCORE', READY, members)) do
                local name = names[math.floor((i + 1) / 2)]
                if score and is_parked(tonumber(score)) and opened[#opened] ~= name then opened[#opened + 1] = name end
            end
            look_again(opened)
            return #opened
        end

        -- What was parked before anybody left is looked at again, and so is what was for long -> whether there is more of it.
        -- at: of the first that is parked.
        local function release(at)
            local old = PARKED + math.max(meta.freed, now_us - LONG)
            if at > old then return false end
            local some = call('ZRANGEBYSCORE', READY, FIRST_PARKED, text(old), 'LIMIT', 0, MOST)
            for _, member in ipairs(some) do place(member, now_us) end
            return #some == MOST
        end

        local function parked_of(names)  -- of what is parked: {list or gate, since when, its name, the gate's}
            local members, out = {}, {}
            for _, name in ipairs(names) do
                members[#members + 1] = name
                members[#members + 1] = gate_of(name)
            end
            if #members == 0 then return out end
            for i, score in ipairs(meta.answers_in_parts('ZMSCORE', READY, members)) do
                score = score and tonumber(score)
                local name, gate = names[math.floor((i + 1) / 2)], i % 2 == 0 and names[i / 2] or nil
                if is_parked(score) then out[#out + 1] = {members[i], score - PARKED, name, gate} end
            end
            return out
        end

        local function some_parked(most)  -- names, others each time
            local count = call('ZCOUNT', READY, FIRST_PARKED, LAST_PARKED)
            local from = now_us % math.max(1, count - most + 1)
            local some = call('ZRANGEBYSCORE', READY, FIRST_PARKED, LAST_PARKED, 'LIMIT', text(math.floor(from)), most)
            for i, member in ipairs(some) do some[i] = name_of_gate(member) or member end
            return some
        end

        -- Where no limits count any more: what had to wait for one does not -> whether there is more of it.
        local function open_gate(name)
            local some = heads(name, 0, MOST)
            for i = 1, #some, 2 do step_out(some[i], tonumber(some[i + 1]), name) end
            if #some == 0 then remove(gate_of(name)) end
        end

        local function open_all()
            local some = call('ZRANGEBYSCORE', READY, FIRST_PARKED, LAST_PARKED, 'LIMIT', 0, MOST)
            for _, member in ipairs(some) do place(member, now_us) end
        end

        return {
            parked_now = parked_now, leave = leave, move = move, step_out = step_out, served = served, heads = heads,
            look_again = look_again, sooner = sooner, open = open, release = release, parked_of = parked_of,
            some_parked = some_parked, open_gate = open_gate, open_all = open_all,
        }
    end)

    local function fresh()
        READY, now_us, now_text = meta.prefix .. 'ready', meta.now_us, text(meta.now_us)
        none_parked, placed = false, {}
    end

    return turns, fresh
end)()
