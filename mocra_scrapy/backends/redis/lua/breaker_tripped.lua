-- uses: circuits breaker
-- ARGV[1]: see lib/breaker.lua; most: how many -> {state, ...} of slots that are not closed, packed
local out = {}
for _, name in ipairs(redis.call('ZREVRANGE', circuits.UNTIL, 0, 999)) do  -- what is open is kept for longest
    if name ~= circuits.THE_CRAWL and #out < breaker.asked.most then
        local told, state = breaker.state_of(name)
        if state > 0 then out[#out + 1] = told end
    end
end
return cmsgpack.pack(out)
