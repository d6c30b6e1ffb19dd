-- uses: crawl
-- On shard 0 -> {run, finished, seeding, born, shards}
local state = crawl.state()
state[#state + 1] = tonumber(redis.call('HGET', crawl.key, 'shards') or 0)
return state
