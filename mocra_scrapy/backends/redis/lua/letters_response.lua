-- uses: responses letter_search
-- ARGV: ms for which letters are kept or 0, id -> the response beside this letter or another one of its delivery, or false
local ttl, id = tonumber(ARGV[1]), ARGV[2]
local packed = letter_search.find(id, ttl)
if not packed then return false end
local found = responses.find(id)
if found then return found end
for _, other in ipairs(letter_search.siblings(id, letter_search.open(packed))) do
    found = responses.find(other)
    if found then return found end
end
return false
