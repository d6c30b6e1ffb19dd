-- A worker's whole turn on one shard, see IRequestQueue.exchange.
-- ARGV[1], packed: the list that the next line names; max_dead: {how many letters are kept, ms for how long or 0};
-- bury_: {token, reason, detail, 1 when a replay puts back another body, that body, the last part of a letter} each.
-- -> packed: {stored, acked, released, buried: strings of 0 and 1; groups {slot, rank, {item, ...}} of leases, in order;
--    {pending, delayed, leased, dead, seen}; ms until next_due or -1; {run, finished, seeding}; lost; reclaimed; given_up;
--    us that each lease must wait; {name -> permits}; crowded names; {name -> us of a hold}}
local worker, number, lease, most, isolate, lifo, ttl, max_dead, control, channel, push, ack, release, bury_, want, full, per_slot,
    default, lookahead, loads, keep, limits =
    unpack(cmsgpack.unpack(ARGV[1]))
local MINE = held_by(worker)
local own = call('HMGET', MINE, '#', '!', '~')
local throttled = default ~= 0
D = throttled and default or {0, 1, 0, 0}
local notes, holds = {}, {}
if throttled then notes, holds = notes_of(worker) end
if not own[1] then  -- its first call, or it was declared dead
    local last = call('GET', last_of(worker))
    if last then
        last = cmsgpack.unpack(last)
        own[1], own[3] = last[1], last[2] == 1
        call('DEL', last_of(worker))
        call('HSET', MINE, '#', own[1])
    end
end
local suspect = own[2] or nil
-- stored, acked, released, buried, lost, reclaimed, given_up; us when each lease departs (empty: all now), crowded, holds
local done = {'', '', '', '', own[3] and 1 or 0, 0, 0, {}, {}, {}}
local groups, leases = {}, 0

local function flags(t) return table.concat(t) end

local function group(slot, rank, item)
    local last = groups[#groups]
    if last and last[3] and last[1] == slot and last[2] == rank then last[3][#last[3] + 1] = item
    else groups[#groups + 1] = {slot, rank, {item}} end
end

local function token(i) return string.format('%010x%04x', number, i) end

local function answer()
    local size = sizes(max_dead[2])
    local due = -1
    if size[2] > 0 then due = math.max(0, tonumber(call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]) - now) end
    if M.leased > 0 then
        local first = call('ZRANGE', WORKERS, 0, 0, 'WITHSCORES')[2]
        local left = first and math.max(0, tonumber(first) - now)
        if left and (due < 0 or left < due) then due = left end
    end
    local waits, permits, held = {}, {}, {}
    if throttled then
        local soon = call('ZRANGEBYSCORE', READY, '(' .. text(now_us), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
        local left = soon and (tonumber(soon) - now_us) / 1000
        if left and left < 3.2e10 and (due < 0 or left < due) then due = math.ceil(left) end
        for i, at in ipairs(done[8]) do waits[i] = math.max(0, math.floor(at - now_us)) end
        for _, g in ipairs(groups) do
            if g[3] then
                for _, name in ipairs(names_of(g[1])) do permits[name] = permits_of(name, worker).mine end
            end
        end
        for name, n in pairs(notes) do permits[name] = n end
        for name, at in pairs(done[10]) do held[name] = math.max(0, math.floor(at - now_us)) end
    end
    local state = control == 1 and crawl_state() or {0, 0, ''}
    return cmsgpack.pack({done[1], done[2], done[3], done[4], groups, size, math.floor(due), state, done[5], done[6], done[7], waits, permits, done[9], held})
end

-- Repeated: the answer of the first time, with the leases that are still held.
local half = {}  -- the first of a call's two steps (the even number): its number and answer are kept beside the second's
if own[1] then
    local last = cmsgpack.unpack(own[1])
    if last[4] == number then
        done = last[5]
        if own[3] then done[5] = 1 end
        call('ZADD', WORKERS, text(now + lease), worker)
        return answer()
    end
    if number % 2 == 1 and last[1] == number - 1 then half = {last[1], last[2]} end
    if number < last[1] then return redis.error_reply('ERR mocra: the call numbers of a worker must grow') end
    if last[1] == number then
        done = last[2]
        if own[3] then done[5] = 1 end
        for i = 1, last[3] do
            local placed = call('HGET', MINE, token(i))
            if placed then
                local rank, slot, item = unplace(placed)
                group(slot, rank, item)
            else
                groups[#groups + 1] = {'', 1, false}  -- keeps the count: this one was taken away meanwhile
            end
        end
        call('ZADD', WORKERS, text(now + lease), worker)
        return answer()
    end
end

call('ZADD', WORKERS, text(now + lease), worker)
if own[3] then call('HDEL', MINE, '~') end
rotate(ttl)
expire_letters(max_dead[2])

local events = 0  -- entries, and permits that others ask for, that became free by this call
if throttled then
    set_limits(limits)
    done[10] = holds
    local told = next(holds)
    local before = cmsgpack.pack(notes)
    events = keep_permits(keep, worker, notes)
    if told or cmsgpack.pack(notes) ~= before then note(worker, notes, {}) end
end

-- ---------------------------------------------------------------- push
local olds = older()
local new = {}
for _, g in ipairs(push) do
    local slot, rank, delay, pairs_ = g[1], g[2], g[3], g[4]
    local items = {}
    for i = 1, #pairs_, 2 do
        local fp = pairs_[i]
        if fp == '' or (not known(olds, fp) and remember(fp, ttl)) then
            M.seq = M.seq + 1
            if delay > 0 then call('ZADD', DELAYED, text(now + delay), string.format('%014x', M.seq) .. place(rank, slot, '\0' .. pairs_[i + 1]))
            else items[#items + 1] = '\0' .. pairs_[i + 1] end
            new[#new + 1] = '1'
            events = events + 1
        else
            new[#new + 1] = '0'
        end
    end
    if #items > 0 then put(rank, slot, items, lifo == 1 and rank % 2 == 1) end
end
done[1] = flags(new)
if #new > 0 then grow(ttl) end
if control == 1 and events > 0 and call('HGET', CRAWL, 'fin') == '1' then
    call('HSET', CRAWL, 'fin', 0, 'winner', '')  -- a push after the end opens the run again
end

-- ---------------------------------------------------------------- settle
local function settled(t)
    if t == suspect then call('HDEL', MINE, '!'); suspect = nil end
end
local out = {}
for i, t in ipairs(ack) do
    if call('HDEL', MINE, t) == 1 then out[i] = '1'; M.leased = math.max(0, M.leased - 1); settled(t) else out[i] = '0' end
end
done[2], out = flags(out), {}
for i = #release, 1, -1 do  -- backwards: the first released is first in line again
    local placed = call('HGET', MINE, release[i])
    if placed then call('HDEL', MINE, release[i]); give_back(placed, isolate); settled(release[i]); out[i] = '1'; events = events + 1 else out[i] = '0' end
end
done[3], out = flags(out), {}
local dropped = {}  -- several burials of one lease make as many letters
for i, b in ipairs(bury_) do
    local t = b[1]
    if dropped[t] == nil then
        dropped[t] = call('HGET', MINE, t) or false
        if dropped[t] then
            call('HDEL', MINE, t)
            settled(t)
            M.leased = math.max(0, M.leased - 1)
        end
    end
    if dropped[t] then
        local _, _, item = unplace(dropped[t])
        write_letter(dropped[t], deliveries(item) + 1, b[2], b[3], worker, max_dead, b[4] == 1 and b[5] or nil, b[6])
    end
    out[i] = dropped[t] and '1' or '0'
end
done[4] = flags(out)

-- ---------------------------------------------------------------- what has become due, and what dead workers held
for _, member in ipairs(call('ZRANGEBYSCORE', DELAYED, '-inf', text(now), 'LIMIT', 0, 100)) do
    call('ZREM', DELAYED, member)
    local rank, slot, item = unplace(string.sub(member, 15))
    put(rank, slot, {item}, lifo == 1 and rank % 2 == 1)
    events = events + 1
end
local budget = 100
for _, dead in ipairs(call('ZRANGEBYSCORE', WORKERS, '-inf', text(now - 1), 'LIMIT', 0, 4)) do
    local key = held_by(dead)
    local tokens = tokens_of(key, budget + 1)
    local taken = math.min(#tokens, budget)
    for i = 1, taken do
        local rank, slot, item = unplace(call('HGET', key, tokens[i]))
        local count = deliveries(item) + 1
        local placed = place(rank, slot, redelivered(item, now))
        call('HDEL', key, tokens[i])
        if count >= most then
            bury(placed, count, 'deliveries', count .. ' workers died while they held it, the last one: ' .. dead, dead, max_dead)
            done[7] = done[7] + 1
        else
            give_back(placed, isolate)
            done[6], events = done[6] + 1, events + 1
        end
    end
    budget = budget - taken
    if #tokens > taken then call('HSET', key, '~', 1)
    else
        local left = call('HMGET', key, '#', '~')
        if left[1] then call('SET', last_of(dead), cmsgpack.pack({left[1], (taken > 0 or left[2]) and 1 or 0}), 'PX', AFTERGLOW) end
        call('DEL', key)
        call('ZREM', WORKERS, dead)
        call('ZREM', WAITING, dead)
        if control == 1 then vacate_seeding(dead) end
    end
end

-- ---------------------------------------------------------------- lease
local avoid, closed = {}, {}
for _, slot in ipairs(full) do avoid[slot] = true end
local fields, given = {}, {}
local horizon = now_us + lookahead

local function hand(slot, rank, item)
    leases = leases + 1
    local t = token(leases)
    fields[#fields + 1] = t
    fields[#fields + 1] = place(rank, slot, item)
    group(slot, rank, item)
    return t
end

-- Where slots have limits: how many entries of a list this worker may have now, and when the next one departs.
local function allowed(names, most)
    for _, name in ipairs(names) do
        if avoid[name] then return 0, now_us end
    end
    local at = departure(names)
    if at > horizon then return 0, at end
    local room, crowded = room_for(names, worker, loads)
    if crowded then
        avoid[crowded] = true
        done[9][#done[9] + 1] = crowded
    end
    return math.min(room, most), at
end

local function is_paced(names)
    for _, name in ipairs(names) do
        if limit_of(name)[1] > 0 then return true end
    end
    return false
end

local function depart(names)  -- books one departure
    local at, waits = departure(names), done[8]
    book(names, at)
    for i = #waits + 1, leases do waits[i] = 0 end  -- those before it go at once
    waits[leases + 1] = at
end

local function count_in(names, n)
    for _, name in ipairs(names) do loads[name] = (loads[name] or 0) + n end
    grant(names, worker, loads)
end

local function serve(list, most)
    local names = names_of(list)
    local paced, n, at = is_paced(names), allowed(names, most)
    if n > 0 and paced then n = fits(names, n, horizon) end
    if n > 0 then
        local got = take(list, n)
        for _, pair in ipairs(got) do
            if paced then depart(names) end
            hand(list, pair[1], pair[2])
        end
        count_in(names, #got)
        if paced then at = departure(names) end
    else closed[#closed + 1] = list; closed[list] = true end
    if at > horizon then call('ZADD', READY, 'XX', text(at - lookahead), list) end
end

if want > 0 and not suspect then
    local placed = call('LINDEX', SUSPECT, 0)
    if placed then
        local rank, slot, item = unplace(placed)
        local names = throttled and names_of(slot)
        if avoid[slot] or (throttled and (allowed(names, 1)) == 0) then call('LMOVE', SUSPECT, SUSPECT, 'LEFT', 'RIGHT')
        else
            call('LPOP', SUSPECT)
            M.pend = math.max(0, M.pend - 1)
            fields[#fields + 1] = '!'
            fields[#fields + 1] = token(leases + 1)
            if throttled then
                depart(names)
                count_in(names, 1)
            end
            hand(slot, rank, item)
            given[slot] = 1
            if per_slot == 1 then avoid[slot] = true; full[#full + 1] = slot end
        end
    end
end
if throttled then
    local looks = want + 200
    while leases < want and looks > 0 do
        local slots = {}
        for _, slot in ipairs(call('ZRANGEBYSCORE', READY, '-inf', text(now_us), 'LIMIT', 0, want - leases + #closed)) do
            if not closed[slot] then slots[#slots + 1] = slot end
        end
        if #slots == 0 then break end
        local names = {}
        for _, list in ipairs(slots) do
            for _, name in ipairs(names_of(list)) do
                if not holders[name] then names[#names + 1] = name end
            end
        end
        fetch(names)
        local quantum = math.ceil((want - leases) / #slots)
        looks = looks - #slots
        for _, slot in ipairs(slots) do
            if leases < want then serve(slot, math.min(quantum, want - leases)) end
        end
    end
    save_departures()
    save_permits(worker)
    if #done[8] > 0 then
        for i = #done[8] + 1, leases do done[8][i] = 0 end
    end
end
while not throttled and leases < want do
    local slots = {}
    for _, slot in ipairs(call('ZRANGEBYSCORE', READY, '-inf', text(now_us), 'LIMIT', 0, want - leases + #full)) do
        if not avoid[slot] then slots[#slots + 1] = slot end
    end
    local quantum, before = math.ceil((want - leases) / #slots), leases
    for _, slot in ipairs(slots) do
        local n = math.min(quantum, want - leases)
        if per_slot > 0 then
            n = math.min(n, per_slot - (given[slot] or 0))
            given[slot] = (given[slot] or 0) + n
            if given[slot] >= per_slot then avoid[slot] = true; full[#full + 1] = slot end
        end
        if n > 0 then
            for _, got in ipairs(take(slot, n)) do hand(slot, got[1], got[2]) end
        end
    end
    if leases == before then break end
end
M.leased = M.leased + leases

-- ---------------------------------------------------------------- wake those who wait, remember this call
local waiting = call('ZCARD', WAITING)
if leases > 0 then
    if waiting > 0 then waiting = waiting - call('ZREM', WAITING, worker) end
elseif want > 0 then
    waiting = waiting + call('ZADD', WAITING, text(now), worker)
end
if waiting > 0 and M.pend > 0 and events > 0 then
    local names = {}
    local popped = call('ZPOPMIN', WAITING, math.min(waiting, M.pend, events))
    for i = 1, #popped, 2 do
        if popped[i] ~= worker then names[#names + 1] = popped[i] end
    end
    if #names > 0 then call('PUBLISH', channel, table.concat(names, '\n')) end
end
fields[#fields + 1] = '#'
fields[#fields + 1] = cmsgpack.pack({number, done, leases, half[1], half[2]})
for i = 1, #fields, 2000 do
    call('HSET', MINE, unpack(fields, i, math.min(i + 1999, #fields)))
end
if M.leased > 0 or M.pend > 0 or events > 0 then call('PERSIST', MINE); call('PERSIST', WORKERS) end  -- see finish.lua
sweep(16)
save()
return answer()
