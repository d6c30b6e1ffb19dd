-- uses: meta rules throttle hold
-- ARGV[1], packed: a map with rules and own, see rules.take; wishes: {{name, ...}, max_wait us} each -> for each us to wait or,
-- not booked, -1 - us
local HOUR = 3600000000
local asked = cmsgpack.unpack(ARGV[1])
if not rules.take(asked) then return rules.UNKNOWN end
local out, all = {}, {}
for _, wish in ipairs(asked.wishes) do
    local names = unpack(wish)
    for _, name in ipairs(names) do all[#all + 1] = name end
end
throttle.fetch(all)
for i, wish in ipairs(asked.wishes) do
    local names, max_wait = unpack(wish)
    local at = throttle.departure(names)
    local wait = math.min(at - meta.now_us, HOUR)  -- paused: ask again in an hour
    if at - meta.now_us <= max_wait then
        throttle.book(names, at)
        out[i] = meta.text(wait)
    else out[i] = meta.text(-1 - wait) end
end
throttle.save_departures()
if meta.run == 0 then hold.keep_between_runs() end
return out
