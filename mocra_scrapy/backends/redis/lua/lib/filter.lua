-- uses: lazy journal meta
-- The filter: linear hashing over small sets, in generations where seen_ttl bounds how long a fingerprint is known.
local filter = (function()
    local call, text = redis.call, meta.text
    local FILL = 224  -- members a bucket on average: twice that, in a bucket not yet split, stays an intset (512 at most)
    local now, heads, olds
    local new_in, new  -- bucket and number of each that this call has remembered
    local filter  -- what it returns

    local function older()  -- generations before the current one that still count: {gen, level, split, count, expires} each
        if olds then return olds end
        olds = {}
        for _, old in ipairs(meta.filter_old and cmsgpack.unpack(meta.filter_old) or {}) do
            if old.expires > now then olds[#olds + 1] = old end
        end
        return olds
    end

    local function seen()  -- how many are known
        local n = meta.filter_count
        for _, old in ipairs(older()) do n = n + old.count end
        return n
    end

    local function rotate(ttl)  -- a new generation every quarter of seen_ttl; a generation lives 1.25 times the ttl
        if ttl > 0 and (meta.filter_born == 0 or now >= meta.filter_born + ttl / 4) then filter.turn_over(ttl) end
    end

    local function sweep(budget)  -- deletes at most budget dropped buckets -> whether some are left
        return meta.filter_doomed and filter.delete_some(budget) or false
    end

    filter = {
        older = older, seen = seen, rotate = rotate, sweep = sweep,
    }
    lazy.with_rest(filter, function()  -- what few calls need that push nothing
        local function head(gen)  -- what the keys of a generation's buckets begin with
            if not heads[gen] then heads[gen] = meta.prefix .. 'f:' .. text(gen) .. ':' end
            return heads[gen]
        end

        local function part(fp) return math.floor(tonumber(fp) / 2147483648) end  -- 32 bits; rounding is always the same

        local function bucket(gen, level, split, fp)
            local low, u = 2 ^ level, part(fp)
            local n = u % low
            if n < split then n = u % (2 * low) end
            return head(gen) .. text(n)
        end

        local function save_older() meta.filter_old = cmsgpack.pack(older()) end

        local function begin_generation()
            meta.filter_gen, meta.filter_level, meta.filter_split, meta.filter_count = meta.filter_gen + 1, 0, 0, 0
        end

        local function turn_over(ttl)
            if meta.filter_born == 0 then meta.filter_born = now end
            if now < meta.filter_born + ttl / 4 then return end
            local kept = older()
            if meta.filter_count > 0 then
                kept[#kept + 1] = {
                    gen = meta.filter_gen, level = meta.filter_level, split = meta.filter_split, count = meta.filter_count,
                    expires = meta.filter_born + 1.25 * ttl,
                }
                begin_generation()
            end
            meta.filter_born = now
            save_older()
        end

        local function expire(key, ttl)  -- a bucket goes by itself when its generation does
            if ttl > 0 then call('PEXPIREAT', key, text(meta.filter_born - meta.ahead + 1.25 * ttl)) end
        end

        local function take_back()
            for i, fp in ipairs(new) do redis.pcall('SREM', new_in[i], fp) end
        end

        local function remember(fp, ttl)  -- true when it is new
            for _, old in ipairs(older()) do
                if call('SISMEMBER', bucket(old.gen, old.level, old.split, fp), fp) == 1 then return false end
            end
            local key = bucket(meta.filter_gen, meta.filter_level, meta.filter_split, fp)
            if call('SADD', key, fp) == 0 then return false end
            if #new == 0 then journal.note(take_back) end
            new_in[#new + 1], new[#new + 1] = key, fp
            if meta.filter_count == 0 then expire(key, ttl) end
            meta.filter_count = meta.filter_count + 1
            return true
        end

        local function knows(fp)
            for _, old in ipairs(older()) do
                if call('SISMEMBER', bucket(old.gen, old.level, old.split, fp), fp) == 1 then return true end
            end
            return call('SISMEMBER', bucket(meta.filter_gen, meta.filter_level, meta.filter_split, fp), fp) == 1
        end

        local function forget(fp)  -- true when it was known
            local was_known, of_older = false, false
            local key = bucket(meta.filter_gen, meta.filter_level, meta.filter_split, fp)
            if meta.filter_count > 0 and call('SREM', key, fp) == 1 then
                journal.note('SADD', key, fp)
                meta.filter_count, was_known = meta.filter_count - 1, true
            end
            for _, old in ipairs(older()) do
                key = bucket(old.gen, old.level, old.split, fp)
                if old.count > 0 and call('SREM', key, fp) == 1 then
                    journal.note('SADD', key, fp)
                    old.count, was_known, of_older = old.count - 1, true, true
                end
            end
            if of_older then save_older() end
            return was_known
        end

        local function grow(ttl)  -- bounded: splits at most four buckets
            for _ = 1, 4 do
                local low, split = 2 ^ meta.filter_level, meta.filter_split
                if meta.filter_count <= FILL * (low + split) then return end
                local from, to = head(meta.filter_gen) .. text(split), head(meta.filter_gen) .. text(split + low)
                local stay, go, all = {}, {}, call('SMEMBERS', from)
                for _, fp in ipairs(all) do
                    if part(fp) % (2 * low) == split then stay[#stay + 1] = fp else go[#go + 1] = fp end
                end
                if #go > 0 then
                    journal.note(expire, from, ttl)
                    journal.note(meta.in_parts, 'SADD', from, all)
                    journal.note('DEL', to)
                    call('DEL', from)  -- not SREM: a set that outgrew intset would never become one again
                    if #stay > 0 then meta.in_parts('SADD', from, stay); expire(from, ttl) end
                    meta.in_parts('SADD', to, go); expire(to, ttl)
                end
                meta.filter_split = split + 1
                if meta.filter_split == low then meta.filter_level, meta.filter_split = meta.filter_level + 1, 0 end
            end
        end

        local function drop()  -- forgets all at once; the buckets are deleted bit by bit by sweep()
            local doomed = meta.filter_doomed and cmsgpack.unpack(meta.filter_doomed) or {}
            for _, old in ipairs(older()) do doomed[#doomed + 1] = {gen = old.gen, left = 2 ^ old.level + old.split} end
            if meta.filter_count > 0 then
                doomed[#doomed + 1] = {gen = meta.filter_gen, left = 2 ^ meta.filter_level + meta.filter_split}
            end
            begin_generation()
            meta.filter_born, olds = 0, {}
            meta.filter_doomed = cmsgpack.pack(doomed)
            save_older()
        end

        local function delete_some(budget)  -- see sweep
            local doomed = cmsgpack.unpack(meta.filter_doomed)
            while #doomed > 0 and budget > 0 do
                local last, keys = doomed[#doomed], {}
                while last.left > 0 and budget > 0 do
                    last.left, budget = last.left - 1, budget - 1
                    keys[#keys + 1] = head(last.gen) .. text(last.left)
                end
                call('UNLINK', unpack(keys))
                if last.left == 0 then doomed[#doomed] = nil end
            end
            meta.filter_doomed = #doomed > 0 and cmsgpack.pack(doomed) or nil
            return #doomed > 0
        end

        return {
            remember = remember, knows = knows, forget = forget, turn_over = turn_over, grow = grow, drop = drop,
            delete_some = delete_some,
        }
    end)

    local function fresh()
        now, heads, olds = meta.now, {}, nil
        new_in, new = {}, {}
    end

    return filter, fresh
end)()
