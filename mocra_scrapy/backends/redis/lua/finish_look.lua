-- uses: meta sizes
-- -> {pending, delayed, leased, dead, seen, seq} of this shard
local counts = sizes()
counts[#counts + 1] = meta.seq
return counts
