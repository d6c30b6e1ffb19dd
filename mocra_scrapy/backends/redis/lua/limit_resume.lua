-- uses: hold circuits
-- ARGV[1], packed: a map with channel, name
local asked = cmsgpack.unpack(ARGV[1])
hold.announce_on(asked.channel)
circuits.half_open(asked.name)
hold.lift(asked.name)
hold.reschedule(asked.name)
return 1
