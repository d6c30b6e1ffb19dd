-- uses: meta crawl workers
-- A worker signs off this shard, at most 200 entries a call. ARGV: worker, isolate_after, '1' on shard 0, channel
-- -> {given back, 1 when some are left}
local call, worker, isolate_after, control, channel = redis.call, ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4]
local MOST = 200
local key, tokens = workers.key_of(worker), workers.tokens_of(worker)
local given = math.min(MOST, #tokens)
for i = 1, given do
    workers.give_back(call('HGET', key, tokens[i]), isolate_after)
    call('HDEL', key, tokens[i])
end
if given > 0 then
    meta.save()
    workers.wake_all(channel)
end
if #tokens > given then return {given, 1} end
call('DEL', key, workers.last_of(worker))
workers.forget(worker)
if control then crawl.vacate_seeding(worker) end
return {given, 0}
