-- uses: meta throttle hold
-- ARGV[1], packed: a map with limit (the default), channel, name; us, negative: until resumed
local asked = cmsgpack.unpack(ARGV[1])
throttle.set_default(asked.limit)
hold.announce_on(asked.channel)
hold.place(asked.name, asked.us < 0 and math.huge or meta.now_us + asked.us)
hold.keep_between_runs()
return 1
