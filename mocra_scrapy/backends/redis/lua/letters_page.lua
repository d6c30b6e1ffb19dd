-- uses: dead_letters
-- ARGV: see dead_letters.search -> {id to go on from or '', id, packed letter, ...}
local out = {''}
out[1] = dead_letters.search(function(id, packed)
    out[#out + 1] = id
    out[#out + 1] = packed
end)
return out
