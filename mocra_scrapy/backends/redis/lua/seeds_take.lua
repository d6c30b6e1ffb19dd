-- A list, set or sorted set that others fill with seeds, and of which workers take: what one took stands in a hash of its
-- own until it is stored, and goes to another one when it dies. The list is not ours: our keys stand beside it.
-- KEYS: what our keys begin with, the source. ARGV: worker, ms for which it is taken to live, how many it wants (0: only to
-- say that it lives), bytes at most, the number of the next seed, how many it has
-- -> {type of the source, how many seeds others have, {number, seed, ...}}
--
-- <ours>:workers         zset  worker -> ms when it counts as dead
-- <ours>:taken:<worker>  hash  number -> packed {seed, score or false}
local call = redis.call
local own, source, worker = KEYS[1], KEYS[2], ARGV[1]
local lease, want, most, number = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local has, WORKERS, TAKEN, MOST_DEAD = tonumber(ARGV[6]), own .. ':workers', own .. ':taken:', 4
local mine, time = TAKEN .. worker, call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local out, bytes, kind = {}, 0, call('TYPE', source).ok

local function keep(packed)  -- before it is taken away: a command that fails in between doubles it, and loses nothing
    call('HSET', mine, string.format('%d', number), packed)
    local seed = cmsgpack.unpack(packed)[1]
    out[#out + 1], out[#out + 2] = number, seed
    number, bytes = number + 1, bytes + #seed
end

local function has_room() return #out < 2 * want and bytes < most end

local function told_again()  -- an answer that was lost
    local all, numbers, seeds = call('HGETALL', mine), {}, {}
    for i = 1, #all, 2 do
        local n = tonumber(all[i])
        if n >= number then
            numbers[#numbers + 1] = n
            seeds[n] = cmsgpack.unpack(all[i + 1])[1]
        end
    end
    table.sort(numbers)
    for _, n in ipairs(numbers) do out[#out + 1], out[#out + 2] = n, seeds[n] end
end

local function adopt(dead)
    local its = TAKEN .. dead
    local all = call('HGETALL', its)
    for i = 1, #all, 2 do
        if not has_room() then return end
        keep(all[i + 1])
        call('HDEL', its, all[i])
    end
    call('ZREM', WORKERS, dead)
end

local FIRST = {
    list = function() return call('LINDEX', source, 0), false end,
    set = function() return call('SRANDMEMBER', source), false end,
    zset = function() return unpack(call('ZREVRANGE', source, 0, 0, 'WITHSCORES')) end,
}
local REMOVE = {
    list = function() call('LPOP', source) end,
    set = function(seed) call('SREM', source, seed) end,
    zset = function(seed) call('ZREM', source, seed) end,
}

local function others()
    local n = 0
    for _, name in ipairs(call('ZRANGE', WORKERS, 0, 199)) do
        if name ~= worker then n = n + call('HLEN', TAKEN .. name) end
    end
    return n
end

call('ZADD', WORKERS, now + lease, worker)
if want <= 0 then return {kind, 0, out} end
if call('HLEN', mine) > has then
    told_again()
    if #out > 0 then return {kind, 0, out} end
end
for _, dead in ipairs(call('ZRANGEBYSCORE', WORKERS, '-inf', now, 'LIMIT', 0, MOST_DEAD)) do adopt(dead) end
while FIRST[kind] and has_room() do
    local seed, score = FIRST[kind]()
    if not seed then break end
    keep(cmsgpack.pack({seed, score}))
    REMOVE[kind](seed)
end
return {kind, #out == 0 and others() or 0, out}
