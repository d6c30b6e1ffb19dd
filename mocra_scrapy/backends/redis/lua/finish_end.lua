-- uses: meta crawl sizes
-- On shard 0. ARGV: worker, seq that finish_look told, channel -> {'busy', 'won' or 'finished'; the run}
local call, worker, seq, channel = redis.call, ARGV[1], tonumber(ARGV[2]), ARGV[3]
local pending, delayed, leased = unpack(sizes())
local run, finished, seeding, winner = unpack(call('HMGET', crawl.key, 'run', 'finished', 'seeding', 'winner'))
if finished == '1' then return {winner == worker and 'won' or 'finished', run} end
if seeding ~= 'done' or pending + delayed + leased > 0 or meta.seq ~= seq then return {'busy', run or 0} end
call('HSET', crawl.key, 'finished', 1, 'winner', worker)
redis.pcall('PUBLISH', channel, '*')
return {'won', run or 0}
