-- uses: meta crawl
-- On shard 0. ARGV: who deletes the crawl, '1' when all is deleted -> 1, or 0 when it is not (any more) this one that does
local call, by, is_over = redis.call, ARGV[1], ARGV[2] == '1'
if call('HGET', crawl.key, 'reset_by') ~= by then return 0 end
if is_over then call('DEL', crawl.key) else call('HSET', crawl.key, 'reset_at', meta.text(meta.now)) end
return 1
