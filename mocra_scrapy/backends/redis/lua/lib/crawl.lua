-- uses: meta
-- The crawl's record, on shard 0.
local crawl = (function()
    local call, key = redis.call, meta.prefix .. 'crawl'

    local function state()  -- {run, finished, seeding}
        local record = call('HMGET', key, 'run', 'finished', 'seeding')
        return {tonumber(record[1] or 0), tonumber(record[2] or 0), record[3] or 'open'}
    end

    local function reopen()  -- something was stored after the end: the run goes on
        if call('HGET', key, 'finished') == '1' then call('HSET', key, 'finished', 0, 'winner', '') end
    end

    local function seeding()  -- -> open, claimed or done; by whom
        return unpack(call('HMGET', key, 'seeding', 'seeder'))
    end

    local function vacate_seeding(worker)  -- a seeder that dies or leaves lets another one go on
        local stage, seeder = seeding()
        if stage == 'claimed' and seeder == worker then call('HSET', key, 'seeding', 'open', 'seeder', '') end
    end

    return {key = key, state = state, reopen = reopen, seeding = seeding, vacate_seeding = vacate_seeding}
end)()
