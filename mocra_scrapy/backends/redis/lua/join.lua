-- uses: journal meta crawl filter budgets workers rules permits log
-- A worker announces itself on one shard. ARGV: worker, lease ms, '1' on shard 0, run (0 on shard 0: it decides), keep_seen,
-- shards (negative: no wish, this many if the crawl is new), digest of its rules, channel, its rules, packed, see rules.learn;
-- on other shards than 0: born, '1' when shard 0 said that the run begins now; on shard 0: digest of the job or '', the job
-- -> {run, finished, seeding, born, resumed, shards, others that live}, {'shards', n} when the stored number is another one,
-- {'job', text} when the run that is not finished is another job's, or {'reset', who deletes the crawl, ms since it last did}
local call, prefix, text = redis.call, meta.prefix, meta.text
local worker, lease, control, run = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local keep_seen, shards, digest, channel, own = ARGV[5] == '1', tonumber(ARGV[6]), ARGV[7], ARGV[8], cmsgpack.unpack(ARGV[9])
local born, begins = tonumber(ARGV[10]), ARGV[11] == '1'
local job, about = ARGV[12], ARGV[13]

local function join()
    -- Wake-ups need a right that Redis 7 gives to nobody by itself. They may be lost later, so this is where it is noticed.
    local told = redis.pcall('PUBLISH', channel, '')
    if type(told) == 'table' and told.err then return told end
    local state, others = {run, 0, 'open', ARGV[10]}, 0
    if control then
        local stored = call('HMGET', crawl.key, 'run', 'finished', 'shards', 'born', 'job', 'about', 'reset_by', 'reset_at')
        local stored_run, finished, stored_shards, was_born, stored_job, stored_about, reset_by, reset_at = unpack(stored)
        if reset_by then return {'reset', reset_by, meta.now - tonumber(reset_at or 0)} end
        stored_run, stored_shards = tonumber(stored_run or 0), tonumber(stored_shards or 0)
        if stored_shards > 0 and shards > 0 and stored_shards ~= shards then return {'shards', stored_shards} end
        shards, run = stored_shards > 0 and stored_shards or math.abs(shards), stored_run
        born = run == 0 and meta.now_us or tonumber(was_born or 0)
        begins = run == 0 or finished == '1'
        local is_known = stored_job and stored_job ~= ''
        if begins then run = run + 1
        elseif job ~= '' and is_known and stored_job ~= job then return {'job', stored_about}
        elseif job ~= '' and not is_known then call('HSET', crawl.key, 'job', job, 'about', about) end
        others = call('ZCOUNT', workers.ALIVE, meta.now, '+inf') - ((workers.ends_at(worker) or 0) >= meta.now and 1 or 0)
    end
    -- A filter whose record is gone is nobody's: this run would take every page for seen. One without a run was left by
    -- somebody who deleted its meta; or it is of pushes that opened a run again.
    local is_new = begins and run == 1
    local is_orphan = is_new or (meta.born > 0 and meta.born ~= born)
    local is_other = meta.run ~= run and (meta.run > 0 or begins)
    if is_orphan or (is_other and not keep_seen) then filter.drop() end
    if is_orphan or is_other then budgets.drop() end
    if is_orphan then log.drop() end
    meta.run, meta.born = run, born
    workers.renew(worker, lease)
    local version = rules.open().version
    for _, other in ipairs(call('HKEYS', rules.USED)) do  -- of the dead nobody may have come for what they held
        if (workers.ends_at(other) or -1) < meta.now then rules.forget(other) end
    end
    rules.learn(worker, digest, own)
    workers.set_free()  -- other limits may be in force now
    -- The end of the run before may have given these a time limit, see finish_tidy.lua and lib/hold.lua.
    for _, name in ipairs({'tat', 'origins', 'hold', 'live', 'workers'}) do call('PERSIST', prefix .. name) end
    meta.save()
    if control then
        if begins then  -- last: with it the run has begun
            call('HSET', crawl.key, 'run', text(run), 'finished', 0, 'seeding', 'open', 'seeder', '', 'winner', '',
                'shards', text(shards), 'born', text(born), 'job', job, 'about', about, 'begun', text(meta.now))
        end
        state = crawl.state()
    end
    journal.commit()
    pcall(rules.sweep)
    if rules.is_news(version) then
        local told = permits.come_down()
        if #told > 0 then redis.pcall('PUBLISH', channel, table.concat(told, '\n')) end
    end
    state[5], state[6], state[7] = begins and 0 or 1, shards, others
    return state
end

return journal.whole(join)
