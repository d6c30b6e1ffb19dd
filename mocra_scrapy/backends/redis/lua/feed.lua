-- uses: journal meta items crawl sizes workers log transit
-- What was read of a log, on one shard, see ILoggedQueue.feed. ARGV[1], packed: a map. feeds: {partition, start, stop, {{slot,
-- rank, {offset, delay ms, body, tag behind the again and the fingerprint or false, '<token> <worker>' of what was in transit
-- or false, ...}}, ...}, {first, behind the last, ...} of what has no entry} each, the last on shard 0 only; confirm: partition
-- -> notes; collect: names of partitions; most: notes of each; lifo; channel; control: 1 on shard 0; dead_ttl: ms or 0
-- -> packed map: positions: position or false, of feeds, then of collect; stored; finished: notes of each of collect; size:
-- {pending, delayed, leased, dead, seen}; moves; is_over: 1 where the run is finished
local call, text = redis.call, meta.text
local asked = cmsgpack.unpack(ARGV[1])
local stored, ready = 0, 0
local are_twins = call('EXISTS', log.TWINS, log.DONE) > 0

local function position_of(partition) return tonumber(call('HGET', log.KEY, 'at:' .. partition) or nil) end

local function store(partition, position, group, ended)
    local slot, rank, entries = unpack(group)
    local new, origin = {}, '\31\30' .. partition .. '\30'
    for i = 1, #entries, 5 do
        local offset, delay, body, tag, name = unpack(entries, i, i + 4)
        local may_be_twin = are_twins and name and not ended[name]
        if offset >= position and not (may_be_twin and log.has_twin(name, partition, offset)) then
            local item = '\0' .. items.wrap(body, (tag or '') .. origin .. text(offset))
            if delay > 0 then ready = ready + transit.line_up(rank, slot, item, meta.now + delay, asked.lifo)
            else new[#new + 1] = item end
            stored = stored + 1
        end
    end
    if #new == 0 then return end
    meta.seq, ready = meta.seq + #new, ready + #new
    items.put(rank, slot, new, asked.lifo == 1 and rank % 2 == 1)
end

local function end_transit(groups, position)  -- of what its pusher has not said yet that the log has it -> their names
    local names = {}
    for _, group in ipairs(groups) do
        local entries = group[3]
        for i = 1, #entries, 5 do
            if entries[i] >= position and entries[i + 4] then names[#names + 1] = entries[i + 4] end
        end
    end
    return transit.end_of(names)
end

local function feed(partition, start, stop, groups, gaps)
    local position = position_of(partition)
    if not position or start > position or stop <= position then return position or false end
    local ended = end_transit(groups, position)
    for _, group in ipairs(groups) do store(partition, position, group, ended) end
    for i = 1, #gaps, 2 do
        local from, to = math.max(gaps[i], position), gaps[i + 1]
        if to == from + 1 then log.add(partition, text(from))
        elseif to > from then log.add(partition, text(from) .. '-' .. text(to)) end
    end
    call('HSET', log.KEY, 'at:' .. partition, text(stop))
    journal.note('HSET', log.KEY, 'at:' .. partition, text(position))
    return stop
end

local function wake()  -- those who wait, as many as find something; it may be lost
    if ready == 0 or call('ZCARD', workers.WAITING) == 0 then return end
    local names, popped = {}, call('ZPOPMIN', workers.WAITING, math.min(meta.pending, ready))
    for i = 1, #popped, 2 do names[#names + 1] = popped[i] end
    if #names > 0 then call('PUBLISH', asked.channel, table.concat(names, '\n')) end
end

return journal.whole(function()
    local positions, finished = {}, {}
    for partition, notes in pairs(asked.confirm or {}) do meta.in_parts('SREM', log.notes_of(partition), notes) end
    for _, one in ipairs(asked.feeds or {}) do positions[#positions + 1] = feed(unpack(one)) end
    for _, partition in ipairs(asked.collect or {}) do
        positions[#positions + 1] = position_of(partition) or false
        finished[#finished + 1] = call('SRANDMEMBER', log.notes_of(partition), asked.most)
    end
    if asked.control == 1 and stored > 0 then crawl.reopen() end
    if stored > 0 then meta.save() end
    journal.commit()
    pcall(wake)
    return cmsgpack.pack({
        positions = positions, stored = stored, finished = finished, size = sizes(asked.dead_ttl),
        moves = tonumber(call('HGET', log.KEY, 'moves') or 0), is_over = asked.control == 1 and crawl.read().finished or nil,
    })
end)
