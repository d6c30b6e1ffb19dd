-- uses: meta sizes
-- -> {pending, delayed, leased, dead, seen, seq, moves, see log.lua} of this shard
local counts = sizes()
counts[#counts + 1] = meta.seq
counts[#counts + 1] = tonumber(redis.call('HGET', meta.prefix .. 'log', 'moves') or 0)
return counts
