-- On shard 0. ARGV: 'claim' or 'complete', worker, lease ms. -> 1 when it is this worker's (claim), when it was completed by it (complete).
local verb, worker, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local c = call('HMGET', CRAWL, 'seed', 'seeder')
if verb == 'claim' then
    call('ZADD', WORKERS, text(now + lease), worker)
    if c[1] == 'done' then return 0 end
    if c[1] == 'claimed' and c[2] ~= worker then
        local ends = call('ZSCORE', WORKERS, c[2])
        if ends and tonumber(ends) >= now then return 0 end
    end
    call('HSET', CRAWL, 'seed', 'claimed', 'seeder', worker)
    return 1
end
if c[2] ~= worker then return 0 end
call('HSET', CRAWL, 'seed', 'done')
call('PUBLISH', ARGV[4], '*')
return 1
