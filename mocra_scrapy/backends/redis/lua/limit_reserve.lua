-- uses: meta rules turns throttle departures hold
-- ARGV[1], packed: a map with rules and own, see rules.take; wishes: {{name, ...}, max_wait us, a booking that is given back}
-- each -> packed list: for each the booking with us to wait in front, or {-1 - us}
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
    local names, max_wait, instead = unpack(wish)
    if instead then
        departures.take_back(names, instead)
        turns.sooner(names)
    end
    local at = departures.departure(names)
    local wait = math.min(at - meta.now_us, HOUR)  -- paused: ask again in an hour
    if at - meta.now_us <= max_wait then
        out[i] = departures.book(names, at)
        table.insert(out[i], 1, wait)
    else out[i] = {-1 - wait} end
end
departures.save()
if meta.run == 0 then hold.keep_between_runs() end
return cmsgpack.pack(out)
