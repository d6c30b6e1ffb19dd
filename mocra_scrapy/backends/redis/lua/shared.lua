-- A namespace of values. ARGV: verb, name or prefix, value, '1' when there is one, version or '', fence or '', channel.
-- get -> {version, fence, value or false}; everything -> {name, version, fence, value or false, ...}; versions -> {name, version, ...};
-- put -> as get, or {} when refused
local VALUES = KEYS[1]
local verb, name = ARGV[1], ARGV[2]

local function read(raw)  -- what none of us has written comes back as it is, with version 0
    if not raw then return {0, 0, false} end
    local good, v = pcall(cmsgpack.unpack, raw)
    if good and type(v) == 'table' and type(v[1]) == 'number' and type(v[2]) == 'number' then return v end
    return {0, 0, raw}
end

local function answer(v) return {text(v[1]), text(v[2]), v[3]} end

if verb == 'get' then return answer(read(call('HGET', VALUES, name))) end

if verb == 'everything' or verb == 'versions' then
    local out, all = {}, call('HGETALL', VALUES)
    for i = 1, #all, 2 do
        if string.sub(all[i], 1, #name) == name then
            local v = read(all[i + 1])
            local at = #out
            if v[3] and verb == 'versions' then
                out[at + 1], out[at + 2] = all[i], text(v[1])
            elseif v[3] then
                out[at + 1], out[at + 2], out[at + 3], out[at + 4] = all[i], text(v[1]), text(v[2]), v[3]
            end
        end
    end
    return out
end

local value, version, fence = ARGV[4] == '1' and ARGV[3], ARGV[5], tonumber(ARGV[6] ~= '' and ARGV[6] or nil)
local old = read(call('HGET', VALUES, name))
-- 0: only if there is none; what is damaged is there, and only who names no version replaces it.
local none, same = version == '0' and not old[3], version ~= '0' and version == text(old[1])
if version ~= '' and not none and not same then return {} end
if fence and fence < old[2] then return {} end
if not fence and old[2] > 0 and version ~= '' then return {} end
local new = {greater(old[1]), fence or old[2], value}
if value or new[2] > 0 then
    call('HSET', VALUES, name, cmsgpack.pack(new))
else
    call('HDEL', VALUES, name)  -- versions begin at the clock: nothing has to be remembered
end
call('PUBLISH', ARGV[7], name)
return answer(new)
