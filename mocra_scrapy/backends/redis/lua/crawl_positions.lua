-- uses: crawl
-- On shard 0 -> {name, position, ...} of the sources that feed the crawl
local flat, out = redis.call('HGETALL', crawl.key), {}
for i = 1, #flat, 2 do
    local name = string.match(flat[i], '^at:(.*)$')
    if name then
        out[#out + 1] = name
        out[#out + 1] = flat[i + 1]
    end
end
return out
