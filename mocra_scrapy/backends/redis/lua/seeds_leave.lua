-- A worker takes no more seeds, see seeds_take.lua: what it has and did not store goes to others at once.
-- KEYS: what our keys begin with, the source. ARGV: worker -> how many that are
local call, workers, worker = redis.call, KEYS[1] .. ':workers', ARGV[1]
local left = call('HLEN', KEYS[1] .. ':taken:' .. worker)
if left > 0 then call('ZADD', workers, 0, worker) else call('ZREM', workers, worker) end
return left
