-- uses: journal meta items workers budgets
-- What a turn leases: leases.begin(worker, number of the call), then leases.add for each.
local leases = (function()
    local leases  -- what it returns; groups: {slot, rank, {item, ...}} in the order in which they are processed
    local groups, key, call_digits
    local fields  -- of the worker's hash, written at the end
    local group_slot, group_rank, group_items, head  -- the last group; what its placed items begin with

    local function token(i) return call_digits .. string.format('%04x', i) end

    local function group(slot, rank, item)
        if group_slot == slot and group_rank == rank then group_items[#group_items + 1] = item
        else
            group_slot, group_rank, group_items, head = slot, rank, {item}, items.place(rank, slot, '')
            groups[#groups + 1] = {slot, rank, group_items}
        end
    end

    local function begin(worker, number)
        key, call_digits = workers.key_of(worker), string.format('%010x', number)
    end

    local function add(slot, rank, item)  -- -> its token
        local count, n = leases.count + 1, #fields
        leases.count = count
        if items.is_tagged(item) then budgets.wait(item, -1) end
        local its_token = token(count)
        group(slot, rank, item)
        fields[n + 1], fields[n + 2] = its_token, head .. item
        return its_token
    end

    local function set(field, value)  -- another field of the worker's hash
        fields[#fields + 1] = field
        fields[#fields + 1] = value
    end

    local function restore(count)  -- those of the call's first time that are still held
        leases.count = count
        for i = 1, count do
            local placed = redis.call('HGET', key, token(i))
            if placed then
                local rank, slot, item = items.unplace(placed)
                group(slot, rank, item)
            else
                groups[#groups + 1] = {'', 1, false}  -- keeps the count: it was taken away meanwhile
                group_slot = nil
            end
        end
    end

    local function take_back()
        for i = 1, #fields, 2 do redis.pcall('HDEL', key, fields[i]) end
    end

    local function save()  -- the last one is the record of the call: with it all of them count
        journal.note(take_back)
        meta.in_parts('HSET', key, fields)
    end

    leases = {count = 0, groups = '', begin = begin, add = add, set = set, restore = restore, save = save}

    local function fresh()
        groups, fields, key, call_digits = {}, {}, nil, nil
        group_slot, group_rank, group_items, head = nil, nil, nil, nil
        leases.groups, leases.count = groups, 0
    end

    return leases, fresh
end)()
