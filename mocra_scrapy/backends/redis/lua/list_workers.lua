-- uses: meta workers
-- -> {name, ms left, entries held, ...}
local out, all = {}, redis.call('ZRANGE', workers.ALIVE, 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
    local worker, ends = all[i], tonumber(all[i + 1])
    out[#out + 1] = worker
    out[#out + 1] = ends - meta.now
    out[#out + 1] = workers.held_by(worker)
end
return out
