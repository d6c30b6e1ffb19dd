-- uses: hold stalled failing
-- ARGV[1], packed: a map with channel, name -> 1 when it was given up
local asked = cmsgpack.unpack(ARGV[1])
hold.announce_on(asked.channel)
failing.forget(asked.name)
if not stalled.open_again(asked.name) then return 0 end
hold.reschedule(asked.name)
return 1
