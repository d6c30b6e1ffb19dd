-- uses: meta rules throttle departures permits hold
-- ARGV[1], packed: a map with rules and own, see rules.take, channel, name; interval us, burst, concurrency: -1 each: as the
-- settings say; adapted: 1 or 0
local call, asked = redis.call, cmsgpack.unpack(ARGV[1])
local name = asked.name
if not rules.take(asked) then return rules.UNKNOWN end
hold.announce_on(asked.channel)
local change, old = throttle.change_of(name), throttle.limit_of(name)
for _, part in ipairs({'interval', 'burst', 'concurrency'}) do change[part] = asked[part] >= 0 and asked[part] or nil end
change.adapted = asked.adapted == 1 and 1 or nil
throttle.set_change(name, change)
-- What a longer interval booked must not outlast the change; but what is booked and has not departed keeps its distance.
local limit = throttle.limit_of(name)
local tat, held = tonumber(call('ZSCORE', throttle.TAT, name) or nil), tonumber(call('ZSCORE', throttle.HOLD, name) or nil)
local start = held and held < math.huge and math.max(meta.now_us, held) or meta.now_us
if tat and limit.interval > 0 then start = math.max(start, math.floor(tat - old.interval * (1 - old.jitter))) end
local last = start + limit.burst * limit.interval
if tat and last < tat then
    departures.set_anew(name)
    departures.save()
    call('ZADD', throttle.TAT, meta.text(last), name)
end
hold.reschedule(name)
hold.wake(permits.come_down(name))
hold.keep_between_runs()
return meta.text(limit.interval)
