-- uses: meta crawl sizes
-- On shard 0. ARGV: worker, seq that finish_look told, channel -> 'busy', 'won' or 'finished'
local call, worker, seq, channel = redis.call, ARGV[1], tonumber(ARGV[2]), ARGV[3]
local pending, delayed, leased = unpack(sizes())
local finished, seeding, winner = unpack(call('HMGET', crawl.key, 'finished', 'seeding', 'winner'))
if finished == '1' then return winner == worker and 'won' or 'finished' end
if seeding ~= 'done' or pending + delayed + leased > 0 or meta.seq ~= seq then return 'busy' end
call('HSET', crawl.key, 'finished', 1, 'winner', worker)
call('PUBLISH', channel, '*')
return 'won'
