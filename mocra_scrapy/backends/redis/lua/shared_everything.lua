-- uses: shared_values
-- ARGV: prefix -> {name, version, fence, value, ...}
local prefix, out, all = ARGV[1], {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    local name = all[i]
    local one = string.sub(name, 1, #prefix) == prefix and shared_values.open(all[i + 1])
    if one and one.value then
        out[#out + 1] = name
        for _, part in ipairs(shared_values.answer(one)) do out[#out + 1] = part end
    end
end
return out
