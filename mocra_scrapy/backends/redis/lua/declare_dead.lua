-- uses: meta workers
-- A worker's lease ends now. ARGV: worker, channel -> entries that it holds here, or -1: it has no lease
local worker, channel = ARGV[1], ARGV[2]
if (workers.ends_at(worker) or -1) < meta.now then return -1 end
redis.call('ZADD', workers.ALIVE, meta.text(meta.now - 1), worker)
workers.wake_all(channel)
return workers.held_by(worker)
