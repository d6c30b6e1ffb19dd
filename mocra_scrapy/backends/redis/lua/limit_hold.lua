-- uses: meta rules throttle hold circuits
-- ARGV[1], packed: a map with rules and own, see rules.take, channel, name; us, negative: until resumed
local asked = cmsgpack.unpack(ARGV[1])
if not rules.take(asked) then return rules.UNKNOWN end
hold.announce_on(asked.channel)
hold.place(asked.name, asked.us < 0 and math.huge or meta.now_us + asked.us)
if asked.us >= 0 then  -- a circuit that is not closed is not forgotten meanwhile
    local change, ends = throttle.change_of(asked.name), circuits.outlast(asked.name, (meta.now_us + asked.us) / 1000)
    if ends then
        change.trying_until = math.max(change.trying_until or 0, ends)
        throttle.set_change(asked.name, change)
    end
end
hold.keep_between_runs()
return 1
