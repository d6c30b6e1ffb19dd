-- uses: dead_letters letter_search
-- ARGV: ms for which letters are kept or 0, id, ... -> {packed letter or false, ...}
local ttl, out = tonumber(ARGV[1]), {}
dead_letters.expire(ttl)
for i = 2, #ARGV do out[#out + 1] = letter_search.find(ARGV[i], ttl) end
return out
