-- uses: journal dead_letters letter_search
-- ARGV: ms for which letters are kept or 0, id, ... -> a 1 or 0 for each
local ttl, out = tonumber(ARGV[1]), {}
return journal.whole(function()
    dead_letters.expire(ttl)
    for i = 2, #ARGV do
        local id = ARGV[i]
        local packed = letter_search.find(id, ttl)
        if packed then dead_letters.drop({id}) end
        out[#out + 1] = packed and 1 or 0
    end
    return out
end)
