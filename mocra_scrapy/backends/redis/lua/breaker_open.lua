-- uses: meta hold circuits breaker
-- ARGV[1]: see lib/breaker.lua; name, ms: how long -> 1 when it is open now, 0: the run is over
local name = breaker.asked.name
if meta.run == 0 then return 0 end
local circuit = circuits.look_up(name)
circuit.openings = math.max(1, circuit.openings)
breaker.hold_until(name, circuit, math.max(circuit.held_until, meta.now + breaker.asked.ms))
breaker.expire_all()
hold.reschedule(name)
return 1
