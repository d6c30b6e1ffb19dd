-- uses: letter_search
-- ARGV: see letter_search.search -> {id to go on from or '', id, ...}
local out = {''}
out[1] = letter_search.search(function(id) out[#out + 1] = id end)
return out
