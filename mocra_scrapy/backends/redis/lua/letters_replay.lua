-- uses: journal meta items filter workers dead_letters letter_search stalled
-- ARGV: ms for which letters are kept or 0, lifo, channel, forget, id, ... -> a 1 or 0 for each
local ttl, lifo, channel, forgets, out = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[3], ARGV[4] == '1', {}
local with_others = {}  -- id -> true: went with another letter of its delivery, which is put back once
return journal.whole(function()
    dead_letters.expire(ttl)
    for i = 5, #ARGV do
        local id = ARGV[i]
        local packed = letter_search.find(id, ttl)
        if packed then
            local letter = letter_search.open(packed)
            local ids = letter_search.siblings(id, letter)
            dead_letters.drop(ids)
            for _, other in ipairs(ids) do with_others[other] = other ~= id or nil end
            meta.seq = meta.seq + 1
            stalled.open_again(string.match(letter.slot, '^[^\31]*'))
            items.put(letter.rank, letter.slot, {'\0' .. items.wrap(letter.body)}, lifo and letter.rank % 2 == 1)
            if forgets and letter.number ~= '' then filter.forget(letter.number) end
        end
        out[#out + 1] = (packed or with_others[id]) and 1 or 0
        if not packed then with_others[id] = nil end
    end
    meta.save()
    journal.commit()
    if meta.pending > 0 then workers.wake_all(channel) end
    return out
end)
