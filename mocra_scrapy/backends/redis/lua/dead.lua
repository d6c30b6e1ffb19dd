-- Dead letters of one shard. ARGV: verb, ms for which letters are kept or 0, and then:
-- 'page', 'ids', 'count': packed {reason, slot, since ms or -1, until ms or -1, done 0, 1 or -1 for both, 1 when the reason matters, 1 when the slot does},
--     id after which to begin ('' for the first), how many to find, how many to look at
--     -> {id of the last one looked at or '' when there are no more, ...}: id and letter | id | reason and number, of those that fit
-- 'find': id, ... -> {letter or false, ...}
-- 'replay': lifo, channel, forget, id, ... -> a 1 or 0 for each
-- 'purge': id, ... -> a 1 or 0 for each
local verb, ttl, out = ARGV[1], tonumber(ARGV[2]), {}

local function ms_of(id) return tonumber(string.match(id, '^%d+') or -1) end

local function letter_of(id)  -- too old is gone, though its turn to be deleted may not have come
    if ttl > 0 and ms_of(id) <= now - ttl then return false end
    return call('HGET', DEAD, id)
end

if verb == 'page' or verb == 'ids' or verb == 'count' then
    local reason, slot, since, till, done, by_reason, by_slot = unpack(cmsgpack.unpack(ARGV[3]))
    local after, want, look = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
    local from = 0
    if after ~= '' then
        local ms = ms_of(after)
        from = call('ZCOUNT', DEAD_AT, '-inf', '(' .. text(ms))  -- those of the same ms are looked through
        for _, id in ipairs(call('ZRANGEBYSCORE', DEAD_AT, text(ms), text(ms))) do
            if id <= after then from = from + 1 end
        end
    end
    if since >= 0 then from = math.max(from, call('ZCOUNT', DEAD_AT, '-inf', '(' .. text(since))) end
    if ttl > 0 then from = math.max(from, call('ZCOUNT', DEAD_AT, '-inf', text(now - ttl))) end
    local counts, at, found, over = {}, '', 0, false
    local ids = call('ZRANGE', DEAD_AT, from, from + look - 1)
    for _, id in ipairs(ids) do
        if found == want or (till >= 0 and ms_of(id) >= till) then over = true; break end
        at = id
        local packed = call('HGET', DEAD, id)
        if packed then
            local letter = cmsgpack.unpack(packed)
            local is_done = letter[10] and letter[10][1] or 0
            if (by_reason == 0 or letter[6] == reason) and (by_slot == 0 or string.match(letter[1], '^[^\31]*') == slot) and (done < 0 or done == is_done) then
                found = found + 1
                if verb == 'count' then counts[letter[6]] = (counts[letter[6]] or 0) + 1
                else out[#out + 1] = id end
                if verb == 'page' then out[#out + 1] = packed end
            end
        end
    end
    for name, n in pairs(counts) do
        out[#out + 1] = name
        out[#out + 1] = n
    end
    return {(over or #ids < look) and '' or at, unpack(out)}
end

expire_letters(ttl)
if verb == 'find' then
    for i = 3, #ARGV do out[#out + 1] = letter_of(ARGV[i]) end
    return out
end
local olds = older()
for i = verb == 'replay' and 6 or 3, #ARGV do
    local id = ARGV[i]
    local packed = letter_of(id)
    out[#out + 1] = packed and 1 or 0
    if packed then
        drop_letters({id})
        if verb == 'replay' then
            local letter = cmsgpack.unpack(packed)
            M.seq = M.seq + 1
            put(letter[2], letter[1], {'\0' .. letter[5]}, ARGV[3] == '1' and letter[2] % 2 == 1)
            if ARGV[5] == '1' and letter[10] and letter[10][4] ~= '' then forget(olds, letter[10][4]) end
        end
    end
end
save()
if verb == 'replay' and M.pend > 0 and call('ZCARD', WAITING) > 0 then
    call('DEL', WAITING)
    call('PUBLISH', ARGV[4], '*')
end
return out
