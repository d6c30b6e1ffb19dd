-- uses: journal meta crawl filter workers
-- A worker announces itself on one shard. ARGV: worker, lease ms, '1' on shard 0, run (0 on shard 0: it decides), keep_seen,
-- shards (negative: no wish, this many if the crawl is new), rules, channel; on other shards than 0: born, '1' when shard 0
-- said that the run begins now
-- -> {run, finished, seeding, born, resumed, shards}, or {'shards', n} when the stored number is another one
local call, prefix, text = redis.call, meta.prefix, meta.text
local worker, lease, control, run = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local keep_seen, shards, rules, channel = ARGV[5] == '1', tonumber(ARGV[6]), ARGV[7], ARGV[8]
local born, begins = tonumber(ARGV[9]), ARGV[10] == '1'

local function join()
    -- Wake-ups need a right that Redis 7 gives to nobody by itself. They may be lost later, so this is where it is noticed.
    local told = redis.pcall('PUBLISH', channel, '')
    if type(told) == 'table' and told.err then return told end
    local state = {run, 0, 'open', ARGV[9]}
    if control then
        local stored = call('HMGET', crawl.key, 'run', 'finished', 'shards', 'born')
        local stored_run, finished, stored_shards, was_born = unpack(stored)
        stored_run, stored_shards = tonumber(stored_run or 0), tonumber(stored_shards or 0)
        if stored_shards > 0 and shards > 0 and stored_shards ~= shards then return {'shards', stored_shards} end
        shards, run = stored_shards > 0 and stored_shards or math.abs(shards), stored_run
        born = run == 0 and meta.now_us or tonumber(was_born or 0)
        begins = run == 0 or finished == '1'
        if begins then run = run + 1 end
    end
    -- A filter whose record is gone is nobody's: this run would take every page for seen. One without a run was left by
    -- somebody who deleted its meta; or it is of pushes that opened a run again.
    local is_new = begins and run == 1
    local is_orphan = is_new or (meta.born > 0 and meta.born ~= born)
    local is_other = meta.run ~= run and (meta.run > 0 or begins)
    if is_orphan or (is_other and not keep_seen) then filter.drop() end
    meta.run, meta.born = run, born
    if rules ~= (meta.rules or '') then  -- other settings: what was told of single slots is not what they say now
        call('DEL', prefix .. 'limits')
        meta.rules = rules
    end
    workers.renew(worker, lease)
    -- The end of the run before may have given these a time limit, see finish_tidy.lua and lib/hold.lua.
    for _, name in ipairs({'tat', 'hold', 'live', 'limits', 'workers'}) do call('PERSIST', prefix .. name) end
    meta.save()
    if control then
        if begins then  -- last: with it the run has begun
            call('HSET', crawl.key, 'run', text(run), 'finished', 0, 'seeding', 'open', 'seeder', '', 'winner', '',
                'shards', text(shards), 'born', text(born))
        end
        state = crawl.state()
    end
    state[5], state[6] = begins and 0 or 1, shards
    return state
end

return journal.whole(join)
