-- uses: hold circuits failing
-- ARGV[1], packed: a map with channel, name
local asked = cmsgpack.unpack(ARGV[1])
hold.announce_on(asked.channel)
circuits.half_open(asked.name)
hold.lift(asked.name)
hold.reschedule(asked.name)
failing.resumed(asked.name)
return 1
