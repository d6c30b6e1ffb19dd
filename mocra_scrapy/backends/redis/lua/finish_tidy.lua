-- uses: meta filter sizes budgets workers rules
-- Deletes what a finished run leaves, a part at a time. ARGV: keep_seen, run -> 1 when something is left to do
local call, prefix, keep_seen, run = redis.call, meta.prefix, ARGV[1] == '1', tonumber(ARGV[2])
local pending, delayed, leased = unpack(sizes())
if pending + delayed + leased > 0 or (meta.run ~= 0 and meta.run ~= run) then return 0 end
call('DEL', workers.WAITING)
-- Workers that were killed at the end: nobody may come to clean up after them. Whoever works on takes the time limit off.
for _, worker in ipairs(call('ZRANGE', workers.ALIVE, 0, 199)) do
    local key = workers.key_of(worker)
    if call('PEXPIRE', key, meta.AFTERGLOW) == 1 then call('HSET', key, 'fades', 1) end
end
call('PEXPIRE', workers.ALIVE, meta.AFTERGLOW)
rules.fade()
budgets.drop()
call('DEL', prefix .. 'live', prefix .. 'permits', prefix .. 'br', prefix .. 'br:at', prefix .. 'stall', prefix .. 'stall:at',
    prefix .. 'stalled', prefix .. 'freed', prefix .. 'twins', prefix .. 'twins:done')
call('ZREMRANGEBYSCORE', prefix .. 'hold', 'inf', 'inf')
-- A site that asked us to wait is not asked again by the next run before; join.lua takes the time limit off.
for key, beside in pairs({tat = 'origins', hold = 'hold'}) do
    local last = tonumber(call('ZRANGE', prefix .. key, -1, -1, 'WITHSCORES')[2] or 0)
    for _, name in ipairs({key, beside}) do
        if last > meta.now_us then call('PEXPIRE', prefix .. name, math.ceil((last - meta.now_us) / 1000))
        else call('DEL', prefix .. name) end
    end
end
if not keep_seen and (meta.filter_count > 0 or #filter.older() > 0) then filter.drop() end
if filter.sweep(256) then
    meta.save()
    return 1
end
if keep_seen then meta.save()
else
    call('DEL', KEYS[1])
    if meta.steps > 0 then call('HSET', KEYS[1], 'steps', meta.text(meta.steps)) end  -- what is kept has instants in it
end
return 0
