-- uses: letter_search
-- ARGV: see letter_search.search -> {id to go on from or '', reason, number, ...}
local counts = {}
local out = {letter_search.search(function(_, _, letter) counts[letter.reason] = (counts[letter.reason] or 0) + 1 end)}
for reason, n in pairs(counts) do
    out[#out + 1] = reason
    out[#out + 1] = n
end
return out
