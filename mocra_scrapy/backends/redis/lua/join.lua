-- uses: meta crawl filter workers
-- A worker announces itself on one shard. ARGV: worker, lease ms, '1' on shard 0, run (0 on shard 0: it decides), keep_seen,
-- shards (negative: no wish, this many if the crawl is new), rules; on other shards than 0: born, '1' when the record was
-- made by this join -> {run, finished, seeding, born, resumed, shards}, or {'shards', n} when the stored number is another one
local call, prefix, text = redis.call, meta.prefix, meta.text
local worker, lease, control, run = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local keep_seen, shards, rules = ARGV[5] == '1', tonumber(ARGV[6]), ARGV[7]
local born, is_new = tonumber(ARGV[8] or 0), ARGV[9] == '1'
local resumed, state = 1, {run, 0, 'open', ARGV[8]}
if control then
    local stored_run, finished, stored_shards = unpack(call('HMGET', crawl.key, 'run', 'finished', 'shards'))
    stored_run, stored_shards = tonumber(stored_run or 0), tonumber(stored_shards or 0)
    if stored_shards > 0 and shards > 0 and stored_shards ~= shards then return {'shards', stored_shards} end
    shards, run = stored_shards > 0 and stored_shards or math.abs(shards), stored_run
    if run == 0 then
        is_new = true
        call('HSET', crawl.key, 'born', text(meta.now_us))
    end
    if run == 0 or finished == '1' then
        run, resumed = run + 1, 0
        call('HSET', crawl.key, 'run', text(run), 'finished', 0, 'seeding', 'open', 'seeder', '', 'winner', '',
            'shards', text(shards))
    end
    state = crawl.state()
    born = tonumber(state[4])
end
-- A filter whose record is gone is nobody's: this run would take every page for seen.
local is_orphan = is_new or (meta.born > 0 and meta.born ~= born)
if is_orphan or (meta.run > 0 and meta.run ~= run and not keep_seen) then filter.drop() end
meta.run, meta.born = run, born
if rules ~= (meta.rules or '') then  -- other settings: what was told of single slots is not what they say now
    call('DEL', prefix .. 'limits')
    meta.rules = rules
end
workers.renew(worker, lease)
-- The end of the run before may have given these a time limit, see finish_tidy.lua and lib/hold.lua.
for _, name in ipairs({'tat', 'hold', 'live', 'limits', 'workers'}) do call('PERSIST', prefix .. name) end
meta.save()
state[5], state[6] = resumed, shards
return state
