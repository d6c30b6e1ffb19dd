-- A worker announces itself on one shard. ARGV: worker, lease ms, control (1: this is shard 0), run (0 on shard 0: it decides),
-- keep_seen, shards, rules (shards negative: no wish, this many if the crawl is new). -> {run, finished, seeding, resumed, shards}, or {'shards', n} when the stored number is another one.
local worker, lease, control, run, keep, shards = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])
local resumed, state = 1, {run, 0, 'open'}
if control then
    local c = call('HMGET', CRAWL, 'run', 'fin', 'shards')
    local stored = tonumber(c[3] or 0)
    if stored > 0 and shards > 0 and stored ~= shards then return {'shards', stored} end
    if stored == 0 then stored = math.abs(shards) end
    run = tonumber(c[1] or 0)
    if run == 0 or c[2] == '1' then
        run, resumed = run + 1, 0
        call('HSET', CRAWL, 'run', text(run), 'fin', 0, 'seed', 'open', 'seeder', '', 'winner', '', 'shards', text(stored))
    end
    shards = stored
    state = crawl_state()
end
if M.run ~= run then
    if M.run > 0 and not keep then drop_filter() end
    M.run = run
end
if ARGV[7] ~= (M.rules or '') then  -- other settings: what was told of single slots is not what they say now
    call('DEL', P .. 'limits')
    M.rules = ARGV[7]
end
call('ZADD', WORKERS, text(now + lease), worker)
for _, name in ipairs({'tat', 'hold', 'live', 'limits', 'workers'}) do
    call('PERSIST', P .. name)  -- the end of the run before may have given it a time limit, see finish.lua and _hold.lua
end
save()
return {state[1], state[2], state[3], resumed, shards}
