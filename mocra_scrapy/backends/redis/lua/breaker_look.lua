-- uses: breaker
-- ARGV[1]: see lib/breaker.lua; name -> {state}, packed
return cmsgpack.pack((breaker.state_of(breaker.asked.name)))
