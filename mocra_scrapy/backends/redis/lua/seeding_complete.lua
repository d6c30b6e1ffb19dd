-- uses: crawl
-- On shard 0. ARGV: worker, channel -> 1 when it was this worker that seeds
local worker, channel = ARGV[1], ARGV[2]
local _, seeder = crawl.seeding()
if seeder ~= worker then return 0 end
redis.call('HSET', crawl.key, 'seeding', 'done')
redis.call('PUBLISH', channel, '*')
return 1
