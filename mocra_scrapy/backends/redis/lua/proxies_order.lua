-- uses: coordination proxies
-- ARGV: out | back | refresh, proxy, site, ms for which it is out, ms that a pool is kept, most records -> 1 where something
-- changed; of refresh the new number
local what, proxy, site = ARGV[1], ARGV[2], ARGV[3]
if what == 'refresh' then
    local number = redis.call('HINCRBY', proxies.POOL, 'refresh', 1)
    proxies.keep(tonumber(ARGV[5]))
    return number
end
local known = proxies.read(proxy, site)
if what == 'back' and not (known and known['until'] > 0) then return 0 end
local record = proxies.touch(proxy, site)
record.row, record.prober = 0, ''
if what == 'out' then record['until'], record.at, record.why = coordination.now + tonumber(ARGV[4]), coordination.now, 'hand'
else record['until'], record.why, record.times = 0, '', 0 end
proxies.save(tonumber(ARGV[5]), tonumber(ARGV[6]))
proxies.keep(tonumber(ARGV[5]))
return 1
