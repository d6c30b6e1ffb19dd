-- ARGV: 'look' -> {pending, delayed, leased, dead, seen, seq} of this shard, changes nothing.
-- ARGV: 'end', worker, seq that 'look' told of this shard, channel (on shard 0) -> 'busy', 'won' or 'finished'.
-- ARGV: 'tidy', keep_seen, run: deletes what a finished run leaves, a part at a time -> 1 when something is left to do.
local verb = ARGV[1]
local size = sizes()
if verb == 'look' then
    size[6] = M.seq
    return size
end
if verb == 'end' then
    local c = call('HMGET', CRAWL, 'fin', 'seed', 'winner')
    if c[1] == '1' then return c[3] == ARGV[2] and 'won' or 'finished' end
    if c[2] ~= 'done' or size[1] + size[2] + size[3] > 0 or M.seq ~= tonumber(ARGV[3]) then return 'busy' end
    call('HSET', CRAWL, 'fin', 1, 'winner', ARGV[2])
    call('PUBLISH', ARGV[4], '*')
    return 'won'
end
if size[1] + size[2] + size[3] > 0 or (M.run ~= 0 and M.run ~= tonumber(ARGV[3])) then return 0 end
call('DEL', WAITING)
-- Workers that were killed at the end: nobody may come to clean up after them. Whoever works on takes the time limit off again.
for _, worker in ipairs(call('ZRANGE', WORKERS, 0, 199)) do call('PEXPIRE', held_by(worker), AFTERGLOW) end
call('PEXPIRE', WORKERS, AFTERGLOW)
call('DEL', P .. 'limits', P .. 'live', P .. 'permits', P .. 'br', P .. 'br:at')
call('ZREMRANGEBYSCORE', P .. 'hold', 'inf', 'inf')
for _, name in ipairs({'tat', 'hold'}) do  -- a site that asked us to wait is not asked again by the next run before; join takes the limit off
    local last = call('ZRANGE', P .. name, -1, -1, 'WITHSCORES')[2]
    if last and tonumber(last) > now_us then call('PEXPIRE', P .. name, math.ceil((tonumber(last) - now_us) / 1000))
    else call('DEL', P .. name) end
end
if ARGV[2] ~= '1' and (M.fc > 0 or #older() > 0) then drop_filter() end
if sweep(256) then save(); return 1 end
if ARGV[2] == '1' then save()
else call('DEL', META) end
return 0
