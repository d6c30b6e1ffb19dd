-- uses: stalled failing
-- ARGV[1], packed: a map with name -> {slot, attempts, ms, why it was given up or ''}, packed
local name = cmsgpack.unpack(ARGV[1]).name
local known = failing.look_up(name) or {attempts = 0, clock = 0}
return cmsgpack.pack({name, known.attempts, known.clock, stalled.why_of(name) or ''})
