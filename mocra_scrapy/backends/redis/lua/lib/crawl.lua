-- uses: lazy journal meta
-- The crawl's record, on shard 0. Read once: what a call to Redis costs is mostly the call.
local crawl = (function()
    local call = redis.call
    local key
    local record  -- {run, finished, seeding, seeder, born}
    local crawl  -- what it returns

    local function read()
        if not record then
            local got = call('HMGET', key, 'run', 'finished', 'seeding', 'seeder', 'born')
            record = {
                run = tonumber(got[1] or 0), finished = tonumber(got[2] or 0), seeding = got[3] or 'open', seeder = got[4] or '',
                born = got[5] or '0',
            }
        end
        return record
    end

    local function state()  -- {run, finished, seeding, born}
        return {read().run, read().finished, read().seeding, read().born}
    end

    local function reopen()  -- something was stored after the end: the run goes on
        if read().finished == 1 then
            local winner = call('HGET', key, 'winner') or ''
            call('HSET', key, 'finished', 0, 'winner', '')
            journal.note('HSET', key, 'finished', 1, 'winner', winner)
            record.finished = 0
        end
    end

    crawl = {key = '', read = read, state = state, reopen = reopen}
    lazy.with_rest(crawl, function()  -- what its seeder says
        local function seed(stage, worker)
            local was = read()
            call('HSET', key, 'seeding', stage, 'seeder', worker)
            journal.note('HSET', key, 'seeding', was.seeding, 'seeder', was.seeder)
            record = nil
        end

        local function vacate_seeding(worker)  -- a seeder that dies or leaves lets another one go on
            if read().seeding == 'claimed' and record.seeder == worker then seed('open', '') end
        end

        local function move(worker, positions)  -- of sources; whether it is this worker that says them
            if read().seeding ~= 'claimed' or record.seeder ~= worker then return false end
            for name, position in pairs(positions) do
                local field = 'at:' .. name
                local was = call('HGET', key, field)
                if position == '' then call('HDEL', key, field) else call('HSET', key, field, position) end
                if was then journal.note('HSET', key, field, was) else journal.note('HDEL', key, field) end
            end
            return true
        end

        return {seed = seed, vacate_seeding = vacate_seeding, move = move}
    end)

    local function fresh()
        key, record = meta.prefix .. 'crawl', nil
        crawl.key = key
    end

    return crawl, fresh
end)()
