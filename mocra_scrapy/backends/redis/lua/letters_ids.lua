-- uses: dead_letters
-- ARGV: see dead_letters.search -> {id to go on from or '', id, ...}
local out = {''}
out[1] = dead_letters.search(function(id) out[#out + 1] = id end)
return out
