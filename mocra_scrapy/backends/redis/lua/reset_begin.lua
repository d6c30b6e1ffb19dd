-- uses: meta crawl workers
-- On shard 0: from here on the crawl is being deleted, and nobody joins it. ARGV: who deletes, '1' to do it although workers
-- live, ms after which a deletion that made no progress was given up
-- -> {'busy', who deletes it already, ms since it last did}, {'alive', name, ms left, ...}, or {'ok'}
local call, by, force, patience = redis.call, ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local other, touched = unpack(call('HMGET', crawl.key, 'reset_by', 'reset_at'))
if other and other ~= by and not force then
    local since = meta.now - tonumber(touched or 0)
    if since < patience then return {'busy', other, since} end
end
local alive, all = {'alive'}, call('ZRANGEBYSCORE', workers.ALIVE, meta.now, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
for i = 1, #all, 2 do
    if all[i] ~= by then
        alive[#alive + 1] = all[i]
        alive[#alive + 1] = tonumber(all[i + 1]) - meta.now
    end
end
if #alive > 1 and not force then return alive end
call('DEL', crawl.key)
call('HSET', crawl.key, 'reset_by', by, 'reset_at', meta.text(meta.now))
return {'ok'}
