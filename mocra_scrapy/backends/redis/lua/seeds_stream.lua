-- Reads on in a stream of seeds. KEYS: what our keys begin with, the stream. ARGV: id of the last one that was read, how many,
-- bytes at most -> {type of the key, {id, {field, value, ...}, ...}}
local call, stream, after = redis.call, KEYS[2], ARGV[1]
local want, most, bytes, out = tonumber(ARGV[2]), tonumber(ARGV[3]), 0, {}
local kind = call('TYPE', stream).ok
while kind == 'stream' and #out < 2 * want and bytes < most do
    local entry = call('XRANGE', stream, '(' .. after, '+', 'COUNT', 1)[1]
    if not entry then break end
    after = entry[1]
    out[#out + 1], out[#out + 2] = entry[1], entry[2]
    for _, part in ipairs(entry[2]) do bytes = bytes + #part end
end
return {kind, out}
