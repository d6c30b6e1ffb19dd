-- uses: meta
-- Compression dictionaries, on shard 0 -> {identity of the current one or '', identity, content, ...}
local out, all = {''}, redis.call('HGETALL', meta.prefix .. 'dictionaries')
for i = 1, #all, 2 do
    if all[i] == 'current' then out[1] = all[i + 1]
    else out[#out + 1] = all[i]; out[#out + 1] = all[i + 1] end
end
return out
