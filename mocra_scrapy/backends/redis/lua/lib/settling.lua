-- uses: journal meta items workers dead_letters log
-- What a turn acknowledges, gives back and buries: settling(asked, own, done) -> how much was given back. asked is the
-- argument of exchange.lua, own and done are as it has them.
local settling = (function()
    local call, note = redis.call, journal.note

    return function(asked, own, done)
        local key = workers.key_of(asked.worker)
        local ack, release, bury = asked.ack or {}, asked.release or {}, asked.bury or {}
        if #ack + #release + #bury == 0 then return 0 end
        local tokens, held = {}, {}  -- token -> what it stands for, or false: it is not this worker's any more
        for _, token in ipairs(ack) do tokens[#tokens + 1] = token end
        for _, token in ipairs(release) do tokens[#tokens + 1] = token end
        for _, burial in ipairs(bury) do tokens[#tokens + 1] = burial[1] end
        for i, placed in ipairs(meta.answers_in_parts('HMGET', key, tokens)) do held[tokens[i]] = placed end
        local gone, back = {}, {}  -- tokens; these, and what they stood for

        local function let_go(token)
            local placed = held[token]
            if not placed then return false end
            held[token], gone[#gone + 1] = false, token
            back[#back + 1] = token
            back[#back + 1] = placed
            if token == own.suspect then
                call('HDEL', key, 'suspect')
                note('HSET', key, 'suspect', token)
                own.suspect = false
            end
            return placed
        end

        local function finish(placed)  -- what it came from is finished, too
            local _, _, item = items.unplace(placed)
            log.finish(item)
        end

        local flags, given_back = {}, 0
        for i, token in ipairs(ack) do
            local is_mine = let_go(token)
            if is_mine then meta.leased = math.max(0, meta.leased - 1) end
            if is_mine and asked.log then finish(is_mine) end
            flags[i] = is_mine and '1' or '0'
        end
        done.acked, flags = table.concat(flags), {}

        for i = #release, 1, -1 do  -- backwards: the first released is first in line again
            local placed = let_go(release[i])
            if placed then
                workers.give_back(placed, asked.isolate_after)
                given_back = given_back + 1
            end
            flags[i] = placed and '1' or '0'
        end
        done.released, flags = table.concat(flags), {}

        local kept, is_any_kept = {}, false
        local buried, deliveries = {}, {}  -- token -> what it stood for: several burials of one lease make as many letters
        for i, burial in ipairs(bury) do
            local token, reason, detail, is_changed, body, more, kind, response = unpack(burial)
            if buried[token] == nil then
                buried[token] = let_go(token)
                if buried[token] then meta.leased = math.max(0, meta.leased - 1) end
                if buried[token] and asked.log then finish(buried[token]) end
            end
            local placed = buried[token]
            if placed then
                local _, _, item = items.unplace(placed)
                local count = items.deliveries(item) + 1
                local put_back = is_changed == 1 and body or nil
                local answer, is_kept = response and {kind = kind, response = response} or nil, nil
                deliveries[token], is_kept = dead_letters.write(
                    placed, count, reason, detail, asked.worker, asked, put_back, more, deliveries[token], answer)
                kept[i], is_any_kept = is_kept and '1' or '0', is_any_kept or is_kept
            else kept[i] = '0' end
            flags[i] = placed and '1' or '0'
        end
        done.buried = table.concat(flags)
        if is_any_kept then done.kept = table.concat(kept) end
        note(meta.in_parts, 'HSET', key, back)
        meta.in_parts('HDEL', key, gone)
        return given_back
    end
end)()
