-- uses: meta turns items
-- ARGV[1], packed: a map with key: behind the prefix, is_hash, cursor -> {cursor, {name, ...}, {how many entries, ...}}: a part
-- of the names in it, packed; of ready and what is behind gates with the entries of each list
local asked, PART = cmsgpack.unpack(ARGV[1]), 200
local key, names, counts = meta.prefix .. asked.key, {}, {}
local cursor, flat = unpack(redis.call(asked.is_hash and 'HSCAN' or 'ZSCAN', key, asked.cursor, 'COUNT', PART))
local has_lists = asked.key == 'ready' or string.sub(asked.key, 1, 7) == 'behind:'
for i = 1, #flat, 2 do
    names[#names + 1] = flat[i]
    counts[#counts + 1] = has_lists and not turns.name_of_gate(flat[i]) and items.length(flat[i]) or 0
end
return cmsgpack.pack({cursor, names, counts})
