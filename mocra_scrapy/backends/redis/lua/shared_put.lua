-- uses: coordination shared_values
-- ARGV: name, value, '1' when there is one, version or '', fence or '', channel, and where it ends by itself: ms that it lasts,
-- how many such values there are at most -> as shared_get, or {} when refused
local name, value, version, channel = ARGV[1], ARGV[3] == '1' and ARGV[2], ARGV[4], ARGV[6]
local fence = ARGV[5] ~= '' and tonumber(ARGV[5]) or nil
local old = shared_values.read(name)
-- 0: only if there is none; what is damaged is there, and only who names no version replaces it.
local none, same = version == '0' and not old.value, version ~= '0' and version == coordination.text(old.version)
if version ~= '' and not none and not same then return {} end
if fence and fence < old.fence then return {} end
if not fence and old.fence > 0 and version ~= '' then return {} end
local ends = value and ARGV[7] and coordination.now + tonumber(ARGV[7]) or nil
local new = {version = coordination.greater(old.version), fence = fence or old.fence, value = value, ends = ends}
if value or new.fence > 0 then redis.call('HSET', KEYS[1], name, shared_values.pack(new))
else redis.call('HDEL', KEYS[1], name) end  -- versions begin at the clock: nothing has to be remembered
if ends then
    redis.call('ZADD', shared_values.ENDS, coordination.text(ends), name)
    shared_values.tidy(tonumber(ARGV[8]))
else
    if old.ends then redis.call('ZREM', shared_values.ENDS, name) end
    if value then redis.call('PERSIST', KEYS[1]) end
end
redis.pcall('PUBLISH', channel, name)  -- it is stored: what is lost is found by polling
return shared_values.answer(new)
