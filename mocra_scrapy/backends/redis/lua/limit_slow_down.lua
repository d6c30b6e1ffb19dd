-- uses: meta rules throttle hold permits
-- ARGV[1], packed: a map with rules and own, see rules.take, name; floor us, recovery, most us, calm ms, rate: departures a
-- second of worker -> interval us
local asked = cmsgpack.unpack(ARGV[1])
if not rules.take(asked) then return rules.UNKNOWN end
local change = throttle.change_of(asked.name)
local trying_until = change.trying_until
change.trying_until = nil  -- what the breaker wants meanwhile is no interval of the slot's
throttle.set_change(asked.name, change)

local function answer()
    local interval = throttle.limit_of(asked.name).interval
    change.trying_until = trying_until
    throttle.set_change(asked.name, change)
    return meta.text(interval)
end

local interval = throttle.limit_of(asked.name).interval
if (change.slowed_to or 0) > 0 and meta.now - change.slowed_at < asked.calm then return answer() end
if asked.rate > 0 then  -- of a worker, and of permits it has a part: so much of the rate of all is its own
    local holders, all = permits.holders_of(asked.name), 0
    for _, n in pairs(holders) do all = all + n end
    local rate = asked.rate * (holders[asked.worker] and all / holders[asked.worker] or 1)
    interval = math.max(interval, 1000000 / rate)
end
local slowed_to = math.min(asked.most, interval > 0 and 2 * interval or asked.floor)
change.slowed_to, change.slowed_at = slowed_to, meta.now
change.recovery, change.floor = asked.recovery, math.min(asked.floor, slowed_to)
throttle.set_change(asked.name, change)
hold.keep_between_runs()
return answer()
