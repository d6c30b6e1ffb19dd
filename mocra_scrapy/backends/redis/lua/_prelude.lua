-- Put in front of every script of this folder. One shard of one crawl:
--
-- KEYS[1] is '<prefix>:{<crawl>:<shard>}:meta'. All other keys are made from it and share its hash tag, so that a script touches one
-- node of a cluster only. P is '<prefix>:{<crawl>:<shard>}:'.
--
-- key              type    holds                                                                    gone when
-- P meta           hash    counters and the filter's shape, see below                               the run is finished, unless seen is kept
-- P crawl          hash    (shard 0 only) run, fin, seed, seeder, winner, shards                    clear
-- P dictionaries   hash    (shard 0 only) identity -> compression dictionary; '*' the current identity      clear
-- P ready          zset    slot -> server time in us since when it waits for its turn, or before     the slot has nothing pending
--                          which it can't be served
-- P q:<rank>:<slot>  list  items, the next to be handed out on the left                             empty
-- P i:<slot>       zset    the slot's ranks other than 0 and 1, best first (score = -rank)          those lists are empty
-- P suspect        list    placed items that were lost with several workers                         empty
-- P delayed        zset    '<14 hex digits>' .. placed item -> due, ms                              empty
-- P workers        zset    worker -> end of its lease, ms                                           it leaves or dies; an hour after the end
-- P w:<worker>     hash    token -> placed item; '#' its last call, '!' the suspect it holds,       it leaves or dies
--                          '~' set when something was taken from it; '@' packed {name -> permits to  an hour after the end
--                          come down to}, {name -> us of a hold}
-- P last:<worker>  string  of a worker that died: its last call and whether something was taken     an hour later, or it leaves
-- P permits         hash    name of a slot or scope -> packed {worker, requests that it may have out, …}  they are given back; the run is finished
-- P ask:<name>     hash    worker -> ms when it found no place                                          5 s later
-- P asking         zset    the names of these                                                            5 s later
-- P limits         hash    name -> packed {interval us, burst, concurrency, jitter}                    the run is finished
-- P live           hash    name -> packed {interval us, burst, concurrency: changed, or -1;            the run is finished; told between two
--                          interval us that failures brought about, ms since, recovery a minute, floor us;   runs (as tat, hold): 7 days
--                          ms until which one request at a time goes, as the breaker wants it}
-- P br             hash    slot -> packed, see _hold.lua: outcomes and whether it is open; '@': the crawl    the run is finished; with br:at
-- P br:at          zset    slot -> ms when the breaker forgets it                                          that is over
-- P tat            zset    name -> us when the next departure without a burst is on time, _throttle.lua  that is over
-- P hold           zset    name -> us before which nothing departs; inf: paused                         that is over, resumed; the run is finished
-- P waiting        zset    worker -> since when it waits for a wake-up                              woken, or it got something
-- P dead           hash    id -> packed letter; P dead:at  zset  id -> ms when it died              replayed, purged, over max_dead; dead_ttl
-- P f:<gen>:<n>    set     bucket n of the filter: decimal 63-bit numbers, small enough for intset  the run is finished; seen_ttl
--
-- item:        '\0' .. body, or char(deliveries) .. 8 bytes (double, ms when it was first taken from a dead worker) .. body
-- placed item: '<rank>:<length of slot>:' .. slot .. item
-- rank:        2 * priority + 1, or 2 * priority for an entry of start(): so start entries come last within a priority
-- token:       10 hex digits of the call that leased, 4 of its place in it: unique for a worker, also after a fail-over
--              that lost writes, when a counter of the server's would give the same number twice
-- letter:      {slot, rank, hand-outs, ms when first lost or -1, body, reason, detail, worker, ms when it died,
--               {done, url, fingerprint, its number or '', retries, ms when it first failed or -1}}; the last part is missing in old ones
--
-- meta: pend (suspects included), leased, seq (entries ever stored: two equal readings mean nothing came between), run
--       fg, fl, fs, fc, fb: the filter's generation, level, split pointer, members, birth (ms); fo: older generations, packed
--       rules: names the limits that workers told; fx: buckets to be deleted, packed; skew: ms added to the server's clock (tests move time with it)
local META = KEYS[1]
local P = string.sub(META, 1, -5)
local READY, SUSPECT, DELAYED = P .. 'ready', P .. 'suspect', P .. 'delayed'
local WORKERS, WAITING, CRAWL = P .. 'workers', P .. 'waiting', P .. 'crawl'
local DEAD, DEAD_AT = P .. 'dead', P .. 'dead:at'
local call = redis.call
local AFTERGLOW = 3600000  -- ms that what dead workers leave is kept

local FIELDS = {'pend', 'leased', 'seq', 'run', 'fg', 'fl', 'fs', 'fc', 'fb', 'fo', 'fx', 'skew', 'rules'}
local raw = call('HMGET', META, unpack(FIELDS))
local M = {}
for i, name in ipairs(FIELDS) do M[name] = raw[i] or nil end
for _, name in ipairs({'pend', 'leased', 'seq', 'run', 'fg', 'fl', 'fs', 'fc', 'fb', 'skew'}) do M[name] = tonumber(M[name] or 0) end
local was = {}
for name, value in pairs(M) do was[name] = value end

local time = call('TIME')
local now_us = (tonumber(time[1]) + M.skew / 1000) * 1000000 + tonumber(time[2])
local now = math.floor(now_us / 1000)

local function text(n) return string.format('%.0f', n) end

local function save()  -- writes what changed of meta, in one call
    local args = {}
    for name, value in pairs(M) do
        if value ~= was[name] then
            args[#args + 1] = name
            args[#args + 1] = type(value) == 'number' and text(value) or value
        end
    end
    if #args > 0 then call('HSET', META, unpack(args)) end
end

-- ---------------------------------------------------------------- items

local function place(rank, slot, item) return text(rank) .. ':' .. #slot .. ':' .. slot .. item end

local function unplace(placed)
    local rank, length, at = string.match(placed, '^(-?%d+):(%d+):()')
    local stop = at + tonumber(length)
    return tonumber(rank), string.sub(placed, at, stop - 1), string.sub(placed, stop)
end

local function deliveries(item) return string.byte(item, 1) or 0 end

local function first_of(item)  -- ms when it was first taken from a dead worker, or nil
    if deliveries(item) == 0 or #item < 9 then return nil end
    return (struct.unpack('>d', string.sub(item, 2, 9)))
end

local function body_of(item)
    if deliveries(item) == 0 or #item < 9 then return string.sub(item, 2) end
    return string.sub(item, 10)
end

local function redelivered(item, when)  -- the item after one more hand-out that was lost
    local n = math.min(deliveries(item) + 1, 255)
    return string.char(n) .. struct.pack('>d', first_of(item) or when) .. body_of(item)
end

local function ready(slot) call('ZADD', READY, 'NX', text(now_us), slot) end

-- Stores items of one slot and rank. front: at the end from which the next one is taken, the last of items first in line.
local function put(rank, slot, items, front)
    local key = P .. 'q:' .. text(rank) .. ':' .. slot
    local length = call(front and 'LPUSH' or 'RPUSH', key, unpack(items))
    M.pend = M.pend + #items
    if length == #items then
        ready(slot)
        if rank ~= 0 and rank ~= 1 then call('ZADD', P .. 'i:' .. slot, text(-rank), text(rank)) end
    end
end

-- Takes up to n items of a slot, best rank first -> list of {rank, item}. Keeps ready and the index exact.
local function take(slot, n)
    local out, index = {}, P .. 'i:' .. slot
    local best = tonumber(call('ZRANGE', index, 0, 0)[1] or nil)
    local order
    if best and best > 1 then order = {best, 1, 0} else order = {1, 0, best} end
    local at = 1
    while n > 0 and at <= 3 do
        local rank = order[at]
        local got = rank and call('LPOP', P .. 'q:' .. text(rank) .. ':' .. slot, n)
        if got then
            for _, item in ipairs(got) do out[#out + 1] = {rank, item} end
            n = n - #got
        end
        if rank and rank == best and call('EXISTS', P .. 'q:' .. text(rank) .. ':' .. slot) == 0 then
            call('ZREM', index, text(rank))
            best = tonumber(call('ZRANGE', index, 0, 0)[1] or nil)
            if best and best > 1 then order = {best, 1, 0}; at = 0
            elseif rank > 1 then order = {1, 0, best}; at = 0
            else order = {best}; at = 0 end
        end
        at = at + 1
    end
    M.pend = math.max(0, M.pend - #out)
    if n > 0 or (not best and call('EXISTS', P .. 'q:1:' .. slot, P .. 'q:0:' .. slot) == 0) then call('ZREM', READY, slot)
    else call('ZADD', READY, text(now_us), slot) end
    return out
end

-- ---------------------------------------------------------------- filter: linear hashing over small sets

local FILL = 224  -- members a bucket on average: twice that, in a bucket not yet split, stays an intset (512 at most)

local function part(fp) return math.floor(tonumber(fp) / 2147483648) end  -- 32 bits; rounding is the same every time

local function bucket(gen, level, split, fp)
    local low, u = 2 ^ level, part(fp)
    local n = u % low
    if n < split then n = u % (2 * low) end
    return P .. 'f:' .. text(gen) .. ':' .. text(n)
end

local function older()  -- generations before the current one that still count: {gen, level, split, members, expires} each
    local out = {}
    for _, g in ipairs(M.fo and cmsgpack.unpack(M.fo) or {}) do
        if g[5] > now then out[#out + 1] = g end
    end
    return out
end

local function rotate(ttl)  -- seen_ttl: a new generation every quarter of it; a generation lives 1.25 times the ttl
    if ttl <= 0 then return end
    if M.fb == 0 then M.fb = now end
    if now < M.fb + ttl / 4 then return end
    local kept = older()
    if M.fc > 0 then
        kept[#kept + 1] = {M.fg, M.fl, M.fs, M.fc, M.fb + 1.25 * ttl}
        M.fg, M.fl, M.fs, M.fc = M.fg + 1, 0, 0, 0
    end
    M.fb = now
    M.fo = cmsgpack.pack(kept)
end

local function expire(key, ttl)  -- a bucket goes by itself when its generation does
    if ttl > 0 then call('PEXPIREAT', key, text(M.fb - M.skew + 1.25 * ttl)) end
end

local function known(olds, fp)
    for _, g in ipairs(olds) do
        if call('SISMEMBER', bucket(g[1], g[2], g[3], fp), fp) == 1 then return true end
    end
    return false
end

local function remember(fp, ttl)  -- true when it is new
    local key = bucket(M.fg, M.fl, M.fs, fp)
    if call('SADD', key, fp) == 0 then return false end
    if M.fc == 0 then expire(key, ttl) end
    M.fc = M.fc + 1
    return true
end

local function forget(olds, fp)  -- true when it was known
    local known_ = false
    if M.fc > 0 and call('SREM', bucket(M.fg, M.fl, M.fs, fp), fp) == 1 then M.fc, known_ = M.fc - 1, true end
    for _, g in ipairs(olds) do
        if g[4] > 0 and call('SREM', bucket(g[1], g[2], g[3], fp), fp) == 1 then g[4], known_ = g[4] - 1, true end
    end
    if known_ and #olds > 0 then M.fo = cmsgpack.pack(olds) end
    return known_
end

local function grow(ttl)  -- bounded: splits at most four buckets
    for _ = 1, 4 do
        local low = 2 ^ M.fl
        if M.fc <= FILL * (low + M.fs) then return end
        local from, to = P .. 'f:' .. text(M.fg) .. ':' .. text(M.fs), P .. 'f:' .. text(M.fg) .. ':' .. text(M.fs + low)
        local stay, go = {}, {}
        for _, fp in ipairs(call('SMEMBERS', from)) do
            if part(fp) % (2 * low) == M.fs then stay[#stay + 1] = fp else go[#go + 1] = fp end
        end
        if #go > 0 then
            call('DEL', from)  -- not SREM: a set that outgrew intset would never become one again
            if #stay > 0 then call('SADD', from, unpack(stay)); expire(from, ttl) end
            call('SADD', to, unpack(go)); expire(to, ttl)
        end
        M.fs = M.fs + 1
        if M.fs == low then M.fl, M.fs = M.fl + 1, 0 end
    end
end

local function seen()
    local n = M.fc
    for _, g in ipairs(older()) do n = n + g[4] end
    return n
end

local function drop_filter()  -- forgets all at once; the buckets are deleted bit by bit by sweep()
    local waste = M.fx and cmsgpack.unpack(M.fx) or {}
    for _, g in ipairs(older()) do waste[#waste + 1] = {g[1], 2 ^ g[2] + g[3]} end
    if M.fc > 0 then waste[#waste + 1] = {M.fg, 2 ^ M.fl + M.fs} end
    M.fg, M.fl, M.fs, M.fc, M.fb = M.fg + 1, 0, 0, 0, 0
    M.fo, M.fx = cmsgpack.pack({}), cmsgpack.pack(waste)
end

local function sweep(budget)  -- deletes at most budget dropped buckets -> whether some are left
    if not M.fx then return false end
    local waste = cmsgpack.unpack(M.fx)
    while #waste > 0 and budget > 0 do
        local gen, left = waste[#waste][1], waste[#waste][2]
        local keys = {}
        while left > 0 and budget > 0 do
            left, budget = left - 1, budget - 1
            keys[#keys + 1] = P .. 'f:' .. text(gen) .. ':' .. text(left)
        end
        call('UNLINK', unpack(keys))
        if left == 0 then waste[#waste] = nil else waste[#waste][2] = left end
    end
    if #waste == 0 then call('HDEL', META, 'fx'); M.fx, was.fx = nil, nil
    else M.fx = cmsgpack.pack(waste) end
    return #waste > 0
end

-- ---------------------------------------------------------------- workers

local function held_by(worker) return P .. 'w:' .. worker end

local function last_of(worker) return P .. 'last:' .. worker end

local function tokens_of(key, most)  -- what a worker holds, newest first: pushed to the front in this order the oldest is next
    local out = {}
    for _, token in ipairs(call('HKEYS', key)) do
        if string.find(token, '^%x%x%x%x%x%x%x%x%x%x%x%x%x%x$') then out[#out + 1] = token end
    end
    table.sort(out, function(a, b) return a > b end)
    for i = #out, most + 1, -1 do out[i] = nil end
    return out
end

local function give_back(placed, isolate)  -- as it is, first in line; a suspect to where suspects wait
    local rank, slot, item = unplace(placed)
    if deliveries(item) >= isolate then
        call('LPUSH', SUSPECT, placed)
        M.pend = M.pend + 1
    else
        put(rank, slot, {item}, true)
    end
    M.leased = math.max(0, M.leased - 1)
end

local function drop_letters(ids)
    if #ids == 0 then return end
    call('HDEL', DEAD, unpack(ids))
    call('ZREM', DEAD_AT, unpack(ids))
end

local function expire_letters(ttl)  -- bounded; those that are too old and still there are passed over, see dead.lua
    if ttl > 0 then drop_letters(call('ZRANGEBYSCORE', DEAD_AT, '-inf', text(now - ttl), 'LIMIT', 0, 100)) end
end

-- Stores a dead letter. count: hand-outs it had; keep: {how many letters, ms for how long or 0}; body: what a replay puts back;
-- more: the last part of a letter, see above.
local function write_letter(placed, count, reason, detail, worker, keep, body, more)
    local rank, slot, item = unplace(placed)
    M.seq = M.seq + 1
    local id = string.format('%013.0f-%08.0f', now, M.seq % 100000000)
    local letter = {slot, rank, count, first_of(item) or -1, body or body_of(item), reason, detail, worker, now, more}
    call('HSET', DEAD, id, cmsgpack.pack(letter))
    call('ZADD', DEAD_AT, text(now), id)
    local over = math.min(100, call('ZCARD', DEAD_AT) - keep[1])
    if over > 0 then drop_letters(call('ZRANGE', DEAD_AT, 0, over - 1)) end
    for _, key in ipairs({DEAD, DEAD_AT}) do  -- nobody may come to clean up: with the last letter the keys go by themselves
        if keep[2] > 0 then call('PEXPIREAT', key, text(now - M.skew + keep[2])) else call('PERSIST', key) end
    end
end

local function bury(placed, count, reason, detail, worker, keep)  -- a leased entry becomes a dead letter
    write_letter(placed, count, reason, detail, worker, keep, nil, {0, '', '', '', 0, -1})
    M.leased = math.max(0, M.leased - 1)
end

local function crawl_state()
    local c = call('HMGET', CRAWL, 'run', 'fin', 'seed')
    return {tonumber(c[1] or 0), tonumber(c[2] or 0), c[3] or 'open'}
end

local function vacate_seeding(worker)  -- a seeder that dies or leaves lets another one go on
    local c = call('HMGET', CRAWL, 'seed', 'seeder')
    if c[1] == 'claimed' and c[2] == worker then call('HSET', CRAWL, 'seed', 'open', 'seeder', '') end
end

local function sizes(dead_ttl)
    local pending = M.pend
    if pending == 0 and call('EXISTS', READY) == 1 then pending = 1 end  -- never "empty" while a slot has something
    local oldest = (dead_ttl or 0) > 0 and '(' .. text(now - dead_ttl) or '-inf'
    return {pending, call('ZCARD', DELAYED), M.leased, call('ZCOUNT', DEAD_AT, oldest, '+inf'), seen()}
end
