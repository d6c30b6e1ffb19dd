-- uses: cache
-- ARGV: prefix, after, most -> {name behind which to go on or false, names…}: what is over is left out, so an answer may be short
local prefix, after, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local low = after >= prefix and '(' .. after or '[' .. prefix
local found, out = redis.call('ZRANGEBYLEX', cache.NAMES, low, '+', 'LIMIT', 0, most), {false}
for i, name in ipairs(found) do
    if string.sub(name, 1, #prefix) ~= prefix then return out end
    if i == most then out[1] = name end
    if cache.left('v' .. name) then out[#out + 1] = name end
end
return out
