-- uses: meta rules throttle departures permits hold circuits failing
-- ARGV[1], packed: a map with rules and own, see rules.take, channel, name; interval us, burst, concurrency: -1 each: as the
-- settings say; adapted: 1 or 0; lasts: ms, or nothing; least: us that the site asks for, or nothing; leaves_rest: 1 where
-- nothing but least is told; is_reset: 1 where only the settings are to be left, what was found, and what an open circuit
-- brings about
local call, asked = redis.call, cmsgpack.unpack(ARGV[1])
local name = asked.name
if not rules.take(asked) then return rules.UNKNOWN end
hold.announce_on(asked.channel)
local change, old = throttle.change_of(name), throttle.limit_of(name)
local by_people = change.interval and not change.adapted
local found = change.found or (change.adapted and change.interval or nil)
if asked.is_reset then
    change = {interval = found, adapted = found and 1 or nil, trying_until = change.trying_until, least = change.least}
elseif asked.leaves_rest then  -- see below
elseif asked.adapted == 1 and by_people then change.found = asked.interval >= 0 and asked.interval or change.found
else
    for _, part in ipairs({'interval', 'burst', 'concurrency'}) do change[part] = asked[part] >= 0 and asked[part] or nil end
    change.adapted = asked.adapted == 1 and 1 or nil
    change.ends = asked.lasts and meta.now + asked.lasts or nil
    change.found = asked.adapted ~= 1 and change.interval and found or nil
    if not (change.interval or change.burst or change.concurrency) then change.least = nil end  -- back to the settings
end
if asked.least then change.least = asked.least > 0 and asked.least or nil end
throttle.set_change(name, change)
departures.keep_distance(name, old)
departures.save()
local limit, held = throttle.limit_of(name), tonumber(call('ZSCORE', throttle.HOLD, name) or nil)
if asked.is_reset and held and held ~= circuits.look_up(name).held_until * 1000 then
    hold.lift(name)
    failing.resumed(name)
end
hold.reschedule(name)
hold.wake(permits.come_down(name))
hold.keep_between_runs()
return meta.text(limit.interval)
