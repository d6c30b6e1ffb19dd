-- uses: meta throttle hold circuits breaker
-- ARGV[1]: see lib/breaker.lua; name -> 1 when it was not closed
local SETTLED = 600000  -- ms in which downloads that departed before it may still fail
local name = breaker.asked.name
local circuit = circuits.look_up(name)
if circuit.held_until == 0 then return 0 end
local held = tonumber(redis.call('ZSCORE', throttle.HOLD, name) or nil)
if held == circuit.held_until * 1000 then hold.lift(name) end  -- any other hold is somebody else's
breaker.next_probe(name)
breaker.ramp_up(name)
circuit = circuits.closed()
circuit.reset_at = meta.now
circuits.keep(name, circuit, SETTLED)
breaker.expire_all()
hold.reschedule(name)
return 1
