-- uses: coordination shared_values
-- ARGV: prefix -> {name, version, ...}
local prefix, out, all = ARGV[1], {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    local name = all[i]
    local one = string.sub(name, 1, #prefix) == prefix and shared_values.open(all[i + 1])
    if one and one.value then
        out[#out + 1] = name
        out[#out + 1] = coordination.text(one.version)
    end
end
return out
