-- On shard 0 -> {run, finished, seeding, shards}. ARGV[1] = 'reopen': the run goes on.
if ARGV[1] == 'reopen' and call('HGET', CRAWL, 'fin') == '1' then call('HSET', CRAWL, 'fin', 0, 'winner', '') end
local state = crawl_state()
state[4] = tonumber(call('HGET', CRAWL, 'shards') or 0)
return state
