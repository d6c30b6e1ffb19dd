-- Compression dictionaries, on shard 0. ARGV: 'all' -> {identity of the current one or '', identity, content, ...}
-- ARGV: 'add', identity, content, instead_of or '' -> identity of the current one afterwards, or ''. Repeating it changes nothing.
-- Identities are 4 hex digits; '*' holds that of the current one.
local DICTIONARIES = P .. 'dictionaries'
if ARGV[1] == 'all' then
    local out, all = {''}, call('HGETALL', DICTIONARIES)
    for i = 1, #all, 2 do
        if all[i] == '*' then out[1] = all[i + 1]
        else out[#out + 1] = all[i]; out[#out + 1] = all[i + 1] end
    end
    return out
end
local identity, content, instead = ARGV[2], ARGV[3], ARGV[4]
local current = call('HGET', DICTIONARIES, '*') or ''
local known = call('HGET', DICTIONARIES, identity)
if current ~= instead or (known and known ~= content) or (not known and call('HLEN', DICTIONARIES) > 100) then return current end
call('HSET', DICTIONARIES, identity, content, '*', identity)
return identity
