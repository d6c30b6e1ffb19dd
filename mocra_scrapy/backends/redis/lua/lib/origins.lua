-- uses: lazy meta rules throttle
-- Beside tat stands what it was made with, its origin {span, before, pushed, last}: the span, (burst - 1) * interval, of the
-- limit by which it was booked, for a longer one opens nothing; of a hold, tat before it and where it moved tat, which is
-- taken back when it is lifted; and, where there is a burst or a longer interval than before, when the last one departs at the
-- latest, for nobody waits for the rest of longer intervals. mocra_scrapy/backends/embedded/origins.py says why.
local origins = lazy.library(function()
    local NONE = {0, 0, 0, 0}
    local now_us, ORIGINS
    local rows, anew  -- name -> origin; names of which it has to be written
    local ruled
    local origins  -- what it returns

    local function of(name)
        local row = rows[name]
        if row == nil then
            local packed = throttle.field(ORIGINS, name)
            row = packed and cmsgpack.unpack(packed) or NONE
            rows[name] = row
        end
        return row
    end

    local function set(name, span, before, pushed, last)
        rows[name], anew[name] = {span, before, pushed, last}, true
    end

    local function grown(origin, tat, span)  -- tat, by the span of an origin, by another span; 0: there is none
        return tat > 0 and tat + math.max(0, span - origin[1]) or 0
    end

    local function since()  -- when the rules became what they are, see rules.look
        ruled = ruled or math.min(now_us, rules.open().version * 1000 + 999)
        return ruled
    end

    local function tat_by(origin, tat, limit)  -- tat, which was made with an origin, by a limit; 0: there is none
        if tat <= 0 then return 0 end
        local span, first, last = limit.span, origin[1], origin[4]
        if span > first then tat = tat + span - first end
        if last <= 0 then return tat end
        local ruled = ruled or since()
        local most = (last > ruled and last or ruled) + span + limit.longest
        return tat < most and tat or most
    end

    local function restore(name, row) rows[name] = row end

    local function save()
        local stored, gone = {}, {}
        for name in pairs(anew) do
            local row = rows[name]
            if row[1] > 0 or row[3] > 0 or row[4] > 0 then stored[#stored + 1], stored[#stored + 2] = name, cmsgpack.pack(row)
            else gone[#gone + 1] = name end
        end
        meta.in_parts('HDEL', ORIGINS, gone)
        meta.in_parts('HSET', ORIGINS, stored)
    end

    local function forget(names)  -- their departures are over
        if throttle.is_there(ORIGINS) then redis.call('HDEL', ORIGINS, unpack(names)) end
    end

    origins = {
        rows = '', of = of, set = set, grown = grown, tat_by = tat_by, restore = restore, save = save, forget = forget,
    }

    local function fresh()
        now_us, ORIGINS = meta.now_us, throttle.ORIGINS
        rows, anew, ruled = {}, {}, nil
        origins.rows = rows
    end

    return origins, fresh
end)
