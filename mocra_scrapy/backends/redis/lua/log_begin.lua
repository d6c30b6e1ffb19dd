-- uses: meta crawl log
-- Where a run begins in a log. ARGV: run, then a partition and an offset each. What fails in its middle is done by a repeat:
-- that a run is known is said after all of an earlier one is gone. -> as log_look.lua
local call, run = redis.call, tonumber(ARGV[1])
local known = tonumber(call('HGET', log.KEY, 'run') or 0)
if run > known then
    log.drop()
    call('HSET', log.KEY, 'run', meta.text(run))
end
for i = 2, run >= known and #ARGV or 0, 2 do
    local partition, offset = ARGV[i], ARGV[i + 1]
    if call('HEXISTS', log.KEY, 'at:' .. partition) == 0 then
        call('HSET', log.KEY, 'from:' .. partition, offset, 'at:' .. partition, offset)
    end
end
local state, record = log.state(), crawl.read()
state[4], state[5] = record.run, record.born
return state
