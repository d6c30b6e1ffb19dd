-- uses: meta throttle departures hold
-- ARGV[1], packed: a map with limit (the default), channel, name; interval us, burst, concurrency: -1 each: as the settings
-- say
local call, asked = redis.call, cmsgpack.unpack(ARGV[1])
local name = asked.name
throttle.set_default(asked.limit)
hold.announce_on(asked.channel)
local change = throttle.change_of(name)
for _, part in ipairs({'interval', 'burst', 'concurrency'}) do change[part] = asked[part] >= 0 and asked[part] or nil end
throttle.set_change(name, change)
-- What a longer interval booked must not outlast the change.
local limit = throttle.limit_of(name)
local tat, held = tonumber(call('ZSCORE', throttle.TAT, name) or nil), tonumber(call('ZSCORE', throttle.HOLD, name) or nil)
local start = held and held < math.huge and math.max(meta.now_us, held) or meta.now_us
local last = start + limit.burst * limit.interval
if tat and last < tat then
    departures.set_anew(name)
    departures.save()
    call('ZADD', throttle.TAT, meta.text(last), name)
end
hold.reschedule(name)
hold.keep_between_runs()
return meta.text(limit.interval)
