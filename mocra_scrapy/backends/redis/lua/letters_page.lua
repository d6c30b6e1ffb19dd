-- uses: letter_search
-- ARGV: see letter_search.search -> {id to go on from or '', id, packed letter, ...}
local out = {''}
out[1] = letter_search.search(function(id, packed)
    out[#out + 1] = id
    out[#out + 1] = packed
end)
return out
