-- uses: coordination
-- The pool of proxies of that name. A record's name is proxy, NUL, site; of a site as a whole: NUL, site.
local proxies = (function()
    local call, now, text, prefix = redis.call, coordination.now, coordination.text, coordination.prefix
    local HEALTH, CHANGED, POOL = prefix .. 'health', prefix .. 'changed', prefix .. 'pool'
    local ALIVE, HELD, TAKEN = prefix .. 'alive', prefix .. 'held', prefix .. 'taken'
    local BOUND, ENDS = prefix .. 'bound', prefix .. 'bound_until'
    local version, known, said = tonumber(call('HGET', POOL, 'version') or 0), {}, {out = {}, back = {}, down = {}}

    local function name_of(proxy, site) return proxy .. '\0' .. site end

    local function read(proxy, site)  -- a record, or nil
        local name = name_of(proxy, site)
        if known[name] == nil then
            local packed = call('HGET', HEALTH, name)
            known[name] = packed and cmsgpack.unpack(packed) or false
        end
        return known[name] or nil
    end

    local function touch(proxy, site)  -- the record, which changes now
        local record, name = read(proxy, site), name_of(proxy, site)
        if not record then
            record = {
                success = 1, latency = 0, row = 0, times = 0, ['until'] = 0, at = 0, good = 0, at_site = '', mixed = false,
                why = '', prober = '', probed = 0,
            }
            known[name] = record
        end
        version = math.max(version + 1, coordination.now_us)
        record.version, record.is_new = version, true
        return record
    end

    local function forget(name)
        call('HDEL', HEALTH, name)
        call('ZREM', CHANGED, name)
        known[name] = false
    end

    local function save(remember, most)  -- what changed; forgets what did not change for long, and what is too much
        for name, record in pairs(known) do
            if record and record.is_new then
                record.is_new = nil
                call('HSET', HEALTH, name, cmsgpack.pack(record))
                call('ZADD', CHANGED, text(record.version), name)
            end
        end
        call('HSET', POOL, 'version', text(version))
        local gone = call('ZRANGEBYSCORE', CHANGED, '-inf', '(' .. text(coordination.now_us - remember * 1000), 'LIMIT', 0, 100)
        local over = math.min(100, call('ZCARD', CHANGED) - #gone - most)
        if over > 0 then
            for _, name in ipairs(call('ZRANGE', CHANGED, #gone, #gone + over - 1)) do gone[#gone + 1] = name end
        end
        for _, name in ipairs(gone) do forget(name) end
    end

    local function since(after, page)  -- {version, more, {proxy, site, success, …} each}
        local names = call('ZRANGEBYSCORE', CHANGED, '(' .. text(after), '+inf', 'LIMIT', 0, page)
        local out, last = {}, after
        for _, name in ipairs(names) do
            local proxy, site = string.match(name, '^(%Z*)%z(.*)$')
            local r = read(proxy, site)
            if r then
                last = r.version
                local wait = r['until'] > 0 and math.max(0, r['until'] - now) or 0
                out[#out + 1] = {
                    proxy, site, text(r.success * 1000000000), text(r.latency * 1000), r.row, r.times, text(wait),
                    r['until'] > 0 and proxy ~= '' and 1 or 0, r.why,
                }
            end
        end
        if #names < page then last = math.max(last, version) end
        return text(last), #names >= page and 1 or 0, out
    end

    -- permits ------------------------------------------------------------

    local function take(worker, before, after)  -- worker has these and no others
        for proxy, number in pairs(before) do
            if call('HINCRBY', TAKEN, proxy, -number) <= 0 then call('HDEL', TAKEN, proxy) end
        end
        local some = false
        for proxy, number in pairs(after) do
            some = true
            call('HINCRBY', TAKEN, proxy, number)
        end
        if some then call('HSET', HELD, worker, cmsgpack.pack(after)) else call('HDEL', HELD, worker) end
    end

    local function held_by(worker)
        local packed = call('HGET', HELD, worker)
        return packed and cmsgpack.unpack(packed) or {}
    end

    local function leave(worker)
        take(worker, held_by(worker), {})
        call('ZREM', ALIVE, worker)
        call('HDEL', POOL, 'call:' .. worker)
    end

    local function free_the_dead()
        for _, worker in ipairs(call('ZRANGEBYSCORE', ALIVE, '-inf', text(now), 'LIMIT', 0, 100)) do leave(worker) end
    end

    local function is_alive(worker) return tonumber(call('ZSCORE', ALIVE, worker) or 0) > now end

    local function keep(ms)  -- as long as somebody uses it
        for _, key in ipairs({HEALTH, CHANGED, POOL, ALIVE, HELD, TAKEN, BOUND, ENDS}) do call('PEXPIRE', key, ms) end
    end

    return {
        HEALTH = HEALTH, CHANGED = CHANGED, POOL = POOL, ALIVE = ALIVE, HELD = HELD, TAKEN = TAKEN, BOUND = BOUND, ENDS = ENDS,
        said = said, read = read, touch = touch, forget = forget, save = save, since = since, take = take, held_by = held_by,
        leave = leave, free_the_dead = free_the_dead, is_alive = is_alive, keep = keep,
    }
end)()
