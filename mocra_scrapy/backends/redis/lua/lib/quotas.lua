-- uses: lazy journal meta throttle
-- Departures that quotas count: at most `count` in any `window` us, see mocra_scrapy/backends/embedded/quotas.py. They are
-- counted by hundredths of the window; one is over when its whole hundredth has left the window.
--
-- Stored packed: {window, {part, n, part, n, ...}, window, {...}, ...}, where n departed in hundredth `part` of the time since
-- the epoch. A quota is {count, window}.
local quotas = lazy.library(function()
    local call, text = redis.call, meta.text
    local PARTS, LATE = 100, 100000  -- us by which a departure may leave later than it was booked: it counts as if it did
    local LOOK = 60000000  -- us after which what waits for a quota is looked at
    local SWEPT = 8  -- rows that are looked at when there is a new one, whether they are over
    local now_us, KEY
    local known  -- name -> {is_new; windows: window -> {part, n, ...; total; is_derived: it was not stored}}
    local moved, is_noted  -- names whose row has to be written; those that are taken back if the call fails

    local function part_of(at, window) return math.floor((at + LATE) / (window / PARTS)) end

    local function over(part, window) return math.ceil((part + 1) * (window / PARTS)) + window end

    local function add(counts, part, n)  -- in the order of parts
        counts.total = counts.total + n
        local i = #counts - 1
        while i > 0 and counts[i] > part do i = i - 2 end
        if i > 0 and counts[i] == part then
            counts[i + 1] = counts[i + 1] + n
            if counts[i + 1] <= 0 then
                table.remove(counts, i)
                table.remove(counts, i)
            end
        else
            table.insert(counts, i + 2, part)
            table.insert(counts, i + 3, n)
        end
    end

    local function row_of(name)
        local row = known[name]
        if row then return row end
        row = {is_new = true, windows = {}}
        throttle.stored[KEY] = throttle.stored[KEY] or {}
        local packed = throttle.field(KEY, name)
        if packed then
            local flat = cmsgpack.unpack(packed)
            row.is_new = false
            for i = 1, #flat, 2 do row.windows[flat[i]] = flat[i + 1] end
        end
        known[name] = row
        return row
    end

    local function best_of(row, window)  -- the window that tells most of another one: the shortest that is longer, or the longest
        local longer, longest
        for one, counts in pairs(row.windows) do
            if not counts.is_derived then
                if one > window and one < (longer or math.huge) then longer = one end
                if one > (longest or 0) then longest = one end
            end
        end
        return longer or longest
    end

    local function counts_of(name, window)
        local row = row_of(name)
        local counts = row.windows[window]
        if counts and counts.total then return counts end
        local from, out = counts and window or best_of(row, window), {total = 0, is_derived = not counts}
        counts = from and row.windows[from] or {}
        for i = 1, #counts, 2 do
            local part = counts[i]
            if from ~= window then part = math.floor((part + 1) * (from / PARTS) / (window / PARTS)) end
            if over(part, window) > now_us then add(out, part, counts[i + 1]) end
        end
        row.windows[window] = out
        return out
    end

    local function opening(counts, count, window)  -- when fewer than count are left; 0: now
        local left, at, i = counts.total, 0, 1
        while left >= count and counts[i] do
            left, at, i = left - counts[i + 1], over(counts[i], window), i + 2
        end
        return at
    end

    local function opens(name, limits, earliest)  -- when one more may depart, earliest or later
        for _, quota in ipairs(limits) do
            local count, window = unpack(quota)
            local counts = counts_of(name, window)
            if counts.total >= count then earliest = math.max(earliest, opening(counts, count, window)) end
        end
        return earliest
    end

    local function room(name, limits, most, horizon)  -- how many may depart until then
        for _, quota in ipairs(limits) do
            local count, window = unpack(quota)
            local counts, gone = counts_of(name, window), 0
            for i = 1, #counts, 2 do
                if over(counts[i], window) <= horizon then gone = gone + counts[i + 1] end
            end
            most = math.min(most, count - counts.total + gone)
        end
        return math.max(0, most)
    end

    local function count(name, limits, at)
        for _, quota in ipairs(limits) do add(counts_of(name, quota[2]), part_of(at, quota[2]), 1) end
        moved[name] = limits
    end

    local function take_back(name, limits, at)  -- it did not depart
        if not is_noted[name] then  -- a second time it would be another one's
            local row = row_of(name)
            local was = throttle.field(KEY, name)
            if was then journal.note('HSET', KEY, name, was) else journal.note('HDEL', KEY, name) end
            is_noted[name] = row
        end
        for _, quota in ipairs(limits) do
            local counts, part = counts_of(name, quota[2]), part_of(at, quota[2])
            for i = 1, #counts, 2 do
                if counts[i] == part then
                    add(counts, part, -1)
                    break
                end
            end
        end
        moved[name] = limits
    end

    local function states(name, limits)  -- {used, us until one more may depart} each
        local out = {}
        for i, quota in ipairs(limits or {}) do
            local counts = counts_of(name, quota[2])
            out[i] = {counts.total, math.max(0, opening(counts, quota[1], quota[2]) - now_us)}
        end
        return out
    end

    -- When what waits for a name is looked at, if nothing departs before `at`: the quota may go with a worker before.
    local function held_until(at) return at < math.huge and math.min(at, now_us + LOOK) or at end

    local function sweep()  -- some of them, so that more go than come
        local some, gone = call('HRANDFIELD', KEY, SWEPT, 'WITHVALUES'), {}
        for i = 1, #some, 2 do
            local flat, is_over = cmsgpack.unpack(some[i + 1]), true
            for j = 1, #flat, 2 do
                local counts = flat[j + 1]
                if #counts > 0 and over(counts[#counts - 1], flat[j]) > now_us then is_over = false end
            end
            if is_over then gone[#gone + 1] = some[i] end
        end
        meta.in_parts('HDEL', KEY, gone)
    end

    local function save()
        if not next(moved) then return end
        local set, gone, last, is_any_new = {}, {}, now_us, false
        for name, limits in pairs(moved) do
            local flat, total = {}, 0
            for i, quota in ipairs(limits) do
                local counts = counts_of(name, quota[2])
                flat[2 * i - 1], flat[2 * i], total = quota[2], {unpack(counts)}, total + counts.total
                if #counts > 0 then last = math.max(last, over(counts[#counts - 1], quota[2])) end
            end
            if total > 0 then
                set[#set + 1], set[#set + 2] = name, cmsgpack.pack(flat)
                is_any_new = is_any_new or known[name].is_new
            else gone[#gone + 1] = name end
        end
        meta.in_parts('HDEL', KEY, gone)
        if #set == 0 then return end
        meta.in_parts('HSET', KEY, set)
        -- All of it is over by then, also what was there before: the next run counts it, too.
        call('PEXPIRE', KEY, text(math.max(call('PTTL', KEY), math.ceil((last - now_us) / 1000) + 1000)))
        if is_any_new then sweep() end
    end

    local function fresh()
        now_us, KEY = meta.now_us, throttle.QUOTA
        known, moved, is_noted = {}, {}, {}
    end

    return {
        opens = opens, room = room, count = count, take_back = take_back, states = states, held_until = held_until, save = save,
    }, fresh
end)
