-- A namespace of values. ARGV: verb, name or prefix, value, '1' when there is one, version or '', fence or '', channel.
-- get -> {version, fence, value or false}; everything -> {name, version, fence, value or false, ...}; put -> as get, or {} when refused
local VALUES = KEYS[1]
local verb, name = ARGV[1], ARGV[2]

local function read(raw)
    if not raw then return {0, 0, false} end
    return cmsgpack.unpack(raw)
end

local function answer(v) return {text(v[1]), text(v[2]), v[3]} end

if verb == 'get' then return answer(read(call('HGET', VALUES, name))) end

if verb == 'everything' then
    local out, all = {}, call('HGETALL', VALUES)
    for i = 1, #all, 2 do
        if string.sub(all[i], 1, #name) == name then
            local v = read(all[i + 1])
            if v[3] then
                local at = #out
                out[at + 1], out[at + 2], out[at + 3], out[at + 4] = all[i], text(v[1]), text(v[2]), v[3]
            end
        end
    end
    return out
end

local value, version, fence = ARGV[4] == '1' and ARGV[3], ARGV[5], tonumber(ARGV[6] ~= '' and ARGV[6] or nil)
local old = read(call('HGET', VALUES, name))
if version ~= '' and version ~= text(old[1]) and not (version == '0' and not old[3]) then return {} end
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
