-- uses: crawl
-- On shard 0. ARGV: worker, channel -> 1 when it was this worker that seeds
local worker, channel = ARGV[1], ARGV[2]
if crawl.read().seeder ~= worker then return 0 end
crawl.seed('done', worker)
redis.pcall('PUBLISH', channel, '*')
return 1
