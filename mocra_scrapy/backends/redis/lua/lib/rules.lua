-- uses: lazy journal meta
-- The rule sets of the workers that live, see IThrottleRules. Who has which is in ruled, what they say in rules and, of single
-- names, in rules:<digest>; of all this what each call needs is packed in meta.rules, made anew when a worker comes or goes:
-- {version; sets: {digest, limit, named: 1 where it has names, patterns: {{part, ...}, limit} each, quotas: 1 where any limit
-- of it has one} each; apart: 1 while a worker without rules lives}. A limit is packed as {interval us, burst, concurrency,
-- jitter, floor us, and where it has some, its quotas: {{count, window us}, ...}}.
local rules = (function()
    local call, note, APART = redis.call, journal.note, '-'
    local UNLIMITED = {interval = 0, burst = 1, concurrency = 0, jitter = 0, floor = 0, span = 0, longest = 0}
    local UNKNOWN = {ok = 'RULES'}  -- the answer to who has to bring its rules
    local prefix, SETS, USED
    local rules  -- what it returns
    local in_force  -- meta.rules, open
    local is_changed  -- whether somebody came or went

    local function open_limit(packed)
        local interval, burst, concurrency, jitter, floor, quotas = unpack(packed)
        return {
            interval = interval, burst = burst, concurrency = concurrency, jitter = jitter, floor = floor, quotas = quotas,
        }
    end

    local function names_key(digest) return prefix .. 'rules:' .. digest end

    local function open()
        if in_force then return in_force end
        in_force = meta.rules and cmsgpack.unpack(meta.rules) or {version = 0, sets = {}}
        for _, set in ipairs(in_force.sets) do
            set.limit = open_limit(set.limit)
            if set.named then set.key = names_key(set.digest) end
        end
        return in_force
    end

    local function is_known(digest)
        if digest == APART then return open().apart == 1 end
        for _, set in ipairs(open().sets) do
            if set.digest == digest then return not set.key or call('EXISTS', set.key) == 1 end
        end
        return false
    end

    local function bring(asked, is_new)  -- whether the rules of the worker who calls count
        if asked.own then rules.learn(asked.worker, asked.rules, asked.own)
        elseif not is_known(asked.rules) then return false
        elseif is_new then return call('HGET', USED, asked.worker) == asked.rules
        end
        return true
    end

    local function is_news(version)  -- whether something is in force since then
        return open().version ~= version
    end

    local function different()
        return #open().sets + (open().apart or 0)
    end

    local function sweep()
        if is_changed then rules.clean() end
    end

    rules = {
        SETS = '', USED = '', APART = APART, UNLIMITED = UNLIMITED, UNKNOWN = UNKNOWN, open = open,
        open_limit = open_limit, bring = bring, sweep = sweep, is_news = is_news, different = different,
    }
    lazy.with_rest(rules, function()  -- of workers that come and go, of several rule sets
        local function look()  -- what is in force now
            local was, used, digests, now = open(), {}, {}, {version = 0, sets = {}}
            local flat = call('HGETALL', USED)
            for i = 2, #flat, 2 do
                if not used[flat[i]] then digests[#digests + 1], used[flat[i]] = flat[i], true end
            end
            table.sort(digests)
            for _, digest in ipairs(digests) do
                local packed = digest ~= APART and call('HGET', SETS, digest)
                if packed then now.sets[#now.sets + 1] = cmsgpack.unpack(packed) end
            end
            now.apart = used[APART] and 1 or nil
            local same = #was.sets == #now.sets and was.apart == now.apart
            for i, set in ipairs(now.sets) do same = same and was.sets[i].digest == set.digest end
            now.version = same and was.version or math.max(was.version + 1, meta.now)
            if #digests > 0 then meta.rules = cmsgpack.pack(now) else meta.rules = nil end
            in_force, is_changed = nil, true
        end

        local function learn(worker, digest, own)  -- own: {limit, named: {name, packed limit, ...}, patterns, text}
            if digest ~= APART then
                local set = {
                    digest = digest, limit = own.limit, named = own.named and 1, patterns = own.patterns, quotas = own.quotas,
                }
                call('HSET', SETS, digest, cmsgpack.pack(set), digest .. ':text', own.text)
                if own.named then meta.in_parts('HSET', names_key(digest), own.named) end
                for _, key in ipairs({SETS, names_key(digest)}) do call('PERSIST', key) end  -- see finish_tidy.lua
            end
            call('HSET', USED, worker, digest)
            call('PERSIST', USED)
            look()
        end

        local function forget(worker)
            local digest = call('HGET', USED, worker)
            if not digest then return end
            call('HDEL', USED, worker)
            note('HSET', USED, worker, digest)
            if meta.rules then look() end
            is_changed = true
        end

        local function clean()  -- sets that nobody has any more
            local used = {}
            for _, digest in ipairs(call('HVALS', USED)) do used[digest] = true end
            for _, name in ipairs(call('HKEYS', SETS)) do
                local digest = string.match(name, '^%x+')
                if not used[digest] then
                    call('HDEL', SETS, name)
                    call('DEL', names_key(digest))
                end
            end
        end

        -- The run is over: workers that stay bring them again, of those that were killed nobody may clean up.
        local function fade()
            local keys = {SETS, USED}
            for _, name in ipairs(call('HKEYS', SETS)) do keys[#keys + 1] = names_key(name) end
            for _, key in ipairs(keys) do call('PEXPIRE', key, meta.AFTERGLOW) end
            meta.rules, in_force = nil, nil
        end

        -- For who is no worker: rules that nobody living has count for this call. False: they are wanted.
        local function take(asked)
            if not asked.rules or is_known(asked.rules) then return true end
            if not asked.own then return false end
            local given = {}
            for i = 1, #(asked.own.named or {}), 2 do given[asked.own.named[i]] = asked.own.named[i + 1] end
            local set = {
                digest = asked.rules, limit = open_limit(asked.own.limit), given = given, patterns = asked.own.patterns,
                quotas = asked.own.quotas,
            }
            table.insert(open().sets, set)
            return true
        end

        local function smallest(a, b)  -- the quotas of both: of each window the smallest
            if not a or not b then return a or b end
            local out, at = {}, {}
            for _, quotas in ipairs({a, b}) do
                for _, quota in ipairs(quotas) do
                    local count, window = unpack(quota)
                    if at[window] then out[at[window]][1] = math.min(out[at[window]][1], count)
                    else
                        out[#out + 1] = {count, window}
                        at[window] = #out
                    end
                end
            end
            table.sort(out, function(one, other) return one[2] < other[2] end)
            return out
        end

        local function strictest(a, b)
            if not a or a == b then return b end
            local slower = (b.interval > a.interval or (b.interval == a.interval and b.jitter < a.jitter)) and b or a
            local fewer = math.min(a.concurrency, b.concurrency)
            if fewer == 0 then fewer = math.max(a.concurrency, b.concurrency) end
            return {
                interval = slower.interval, burst = math.min(a.burst, b.burst), concurrency = fewer, jitter = slower.jitter,
                floor = math.max(a.floor, b.floor), quotas = smallest(a.quotas, b.quotas),
            }
        end

        local function matches(parts, name)  -- what is between the stars of a pattern, see pack_pattern in rules_wire.py
            local _, at = string.find(name, parts[1])
            for i = 2, #parts do
                if not at then return false end
                _, at = string.find(name, parts[i], at + 1)
            end
            return at ~= nil
        end

        local function matching(set, name)  -- the packed limit of its first pattern that does, or nil
            for _, one in ipairs(set.patterns or {}) do
                if matches(one[1], name) then return one[2] end
            end
            return nil
        end

        return {
            learn = learn, forget = forget, clean = clean, fade = fade, take = take, strictest = strictest,
            matching = matching,
        }
    end)

    local function fresh()
        prefix, in_force, is_changed = meta.prefix, nil, false
        SETS, USED = prefix .. 'rules', prefix .. 'ruled'
        rules.SETS, rules.USED = SETS, USED
    end

    return rules, fresh
end)()
