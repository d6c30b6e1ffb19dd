-- ARGV: 'page', limit, id of the last letter of the page before ('' for the first) -> {id, packed letter, ...}, oldest first
-- ARGV: 'replay' or 'purge', id, ... -> a 1 or 0 for each. replay: also lifo as ARGV[2], channel as ARGV[3], ids after that
local verb, out = ARGV[1], {}
if verb == 'page' then
    local from = 0
    if ARGV[3] ~= '' then
        local ms = tonumber(string.match(ARGV[3], '^%d+'))
        from = call('ZCOUNT', DEAD_AT, '-inf', '(' .. text(ms)) -- those of the same ms are looked through
        for _, id in ipairs(call('ZRANGEBYSCORE', DEAD_AT, text(ms), text(ms))) do
            if id <= ARGV[3] then from = from + 1 end
        end
    end
    for _, id in ipairs(call('ZRANGE', DEAD_AT, from, from + tonumber(ARGV[2]) - 1)) do
        out[#out + 1] = id
        out[#out + 1] = call('HGET', DEAD, id)
    end
    return out
end
local first = verb == 'replay' and 4 or 2
for i = first, #ARGV do
    local packed = call('HGET', DEAD, ARGV[i])
    out[#out + 1] = packed and 1 or 0
    if packed then
        call('HDEL', DEAD, ARGV[i])
        call('ZREM', DEAD_AT, ARGV[i])
        if verb == 'replay' then
            local letter = cmsgpack.unpack(packed)
            M.seq = M.seq + 1
            put(letter[2], letter[1], {'\0' .. letter[5]}, ARGV[2] == '1' and letter[2] % 2 == 1)
        end
    end
end
save()
if verb == 'replay' and M.pend > 0 and call('ZCARD', WAITING) > 0 then
    call('DEL', WAITING)
    call('PUBLISH', ARGV[3], '*')
end
return out
