-- A worker signs off this shard, at most 200 entries a call. ARGV: worker, isolate, control, channel -> {given back, 1 when some are left}
local worker = ARGV[1]
local key = held_by(worker)
local tokens = tokens_of(key, 201)
local given = 0
for i = 1, math.min(200, #tokens) do
    give_back(call('HGET', key, tokens[i]), tonumber(ARGV[2]))
    call('HDEL', key, tokens[i])
    given = given + 1
end
if given > 0 then
    save()
    if call('ZCARD', WAITING) > 0 then
        call('DEL', WAITING)
        call('PUBLISH', ARGV[4], '*')
    end
end
if #tokens > 200 then return {given, 1} end
free_places(worker)
call('DEL', key, last_of(worker))
call('ZREM', WORKERS, worker)
call('ZREM', WAITING, worker)
if ARGV[3] == '1' then vacate_seeding(worker) end
return {given, 0}
