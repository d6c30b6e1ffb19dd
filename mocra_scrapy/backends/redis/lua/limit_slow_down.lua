-- uses: meta rules throttle hold
-- ARGV[1], packed: a map with rules and own, see rules.take, name; floor us, recovery, most us, calm ms -> interval us
local asked = cmsgpack.unpack(ARGV[1])
if not rules.take(asked) then return rules.UNKNOWN end
local interval, change = throttle.limit_of(asked.name).interval, throttle.change_of(asked.name)
if (change.slowed_to or 0) > 0 and meta.now - change.slowed_at < asked.calm then return meta.text(interval) end
change.slowed_to, change.slowed_at = math.min(asked.most, math.max(asked.floor, 2 * interval)), meta.now
change.recovery, change.floor = asked.recovery, asked.floor
throttle.set_change(asked.name, change)
hold.keep_between_runs()
return meta.text(throttle.limit_of(asked.name).interval)
