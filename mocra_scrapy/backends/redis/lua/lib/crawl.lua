-- uses: journal meta
-- The crawl's record, on shard 0. Read once: what a call to Redis costs is mostly the call.
local crawl = (function()
    local call, key = redis.call, meta.prefix .. 'crawl'
    local record  -- {run, finished, seeding, seeder}

    local function read()
        if not record then
            local run, finished, seeding, seeder = unpack(call('HMGET', key, 'run', 'finished', 'seeding', 'seeder'))
            record = {
                run = tonumber(run or 0), finished = tonumber(finished or 0), seeding = seeding or 'open', seeder = seeder or '',
            }
        end
        return record
    end

    local function state()  -- {run, finished, seeding}
        return {read().run, read().finished, read().seeding}
    end

    local function reopen()  -- something was stored after the end: the run goes on
        if read().finished == 1 then
            local winner = call('HGET', key, 'winner') or ''
            call('HSET', key, 'finished', 0, 'winner', '')
            journal.note('HSET', key, 'finished', 1, 'winner', winner)
            record.finished = 0
        end
    end

    local function seed(stage, worker)
        local was = read()
        call('HSET', key, 'seeding', stage, 'seeder', worker)
        journal.note('HSET', key, 'seeding', was.seeding, 'seeder', was.seeder)
        record = nil
    end

    local function vacate_seeding(worker)  -- a seeder that dies or leaves lets another one go on
        if read().seeding == 'claimed' and record.seeder == worker then seed('open', '') end
    end

    return {key = key, read = read, state = state, reopen = reopen, seed = seed, vacate_seeding = vacate_seeding}
end)()
