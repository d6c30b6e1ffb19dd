-- uses: meta rules hold
-- ARGV[1], packed: a map with rules and own, see rules.take, channel, name; us, negative: until resumed
local asked = cmsgpack.unpack(ARGV[1])
if not rules.take(asked) then return rules.UNKNOWN end
hold.announce_on(asked.channel)
hold.place(asked.name, asked.us < 0 and math.huge or meta.now_us + asked.us)
hold.keep_between_runs()
return 1
