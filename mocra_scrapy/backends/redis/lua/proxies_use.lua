-- uses: proxies
-- -> packed {worker, {proxy -> permits}} each
proxies.free_the_dead()
local out = {}
local flat = redis.call('HGETALL', proxies.HELD)
for i = 1, #flat, 2 do out[#out + 1] = {flat[i], cmsgpack.unpack(flat[i + 1])} end
return cmsgpack.pack(out)
