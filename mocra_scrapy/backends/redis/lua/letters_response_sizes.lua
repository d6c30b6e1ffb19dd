-- uses: responses letter_search
-- ARGV: ms for which letters are kept or 0, id, ... -> bytes of the response beside each, 0 where there is none
local ttl, out = tonumber(ARGV[1]), {}
for i = 2, #ARGV do
    local found = letter_search.find(ARGV[i], ttl) and responses.find(ARGV[i])
    out[#out + 1] = found and #found or 0
end
return out
