-- uses: journal
-- One shard of one crawl: its keys, its counters, its clock. Every script of a crawl uses it.
--
-- KEYS[1] is '<key prefix>:{<crawl>:<shard>}:meta'. All other keys are made from it and share its hash tag, so that a
-- script touches one node of a cluster only. `prefix` is '<key prefix>:{<crawl>:<shard>}:'; behind it:
--
-- key                type    holds                                                    gone when
--   meta             hash    counters and the filter's shape, see below               the run is finished, unless seen is
--                                                                                     kept
--   crawl            hash    (shard 0) run; finished: 0 or 1; seeding: open, claimed  reset
--                            or done; seeder, winner: workers; shards; born: us
--                            when this record was made; begun: ms when this run
--                            was; job, about: digest and text of whose it is;
--                            at:<name>: position of a source; or
--                            only reset_by, reset_at: who deletes the crawl, and
--                            ms when it last did
--   dictionaries     hash    (shard 0) identity -> compression dictionary; 'current'  reset
--                            -> the identity that is written with
--   ready            zset    slot, or '\31\31' and a name: the gate of what waits for  the slot has nothing pending,
--                            it -> server time in us since when it waits for its     nothing is behind the gate
--                            turn, before which it can't be served, or since when
--                            it is parked: see turns.lua
--   behind:<name>    zset    slot -> us since when it waits, of those that can't be   empty
--                            served before this slot or scope can
--   q:<rank>:<slot>  list    items, the next to be handed out on the left             empty
--   i:<slot>         zset    the slot's ranks other than 0 and 1, best first          those lists are empty
--                            (score = -rank)
--   suspect          list    placed items that were lost with several workers         empty
--   delayed          zset    '<14 hex digits>' .. placed item -> due, ms              empty
--   workers          zset    worker -> end of its lease, ms                           it leaves or dies; an hour after
--                                                                                     the end
--   log              hash    run: for which it was said where a log begins; moves:    reset; all but moves: a record
--                            entries that went into it; from:<partition>: where that  that is begun anew
--                            is; at:<partition>: up to where it was fed
--   done:<partition> set     offsets of it that are finished, '<n>' or '<first>-<n>'  told and confirmed; a later run
--                            up to but for n; see log.lua                             begins its log
--   twins            hash    '<token> <worker>' of what was in transit when its       it is finished; the run is
--                            pusher was gone -> '', or '<partition>\30<offset>'
--                            where it is in the log, too; see log.lua
--   twins:done       zset    of these, what is finished and has not come from the     it comes; over 2,000; the run is
--                            log -> ms when                                           finished
--   w:<worker>       hash    token -> placed item; '~' and token -> ms when it is     it leaves or dies; an hour after
--                            due, ':', placed item, of what is in transit, see        the end
--                            transit.lua; call: its last call, see exchange.lua;
--                            suspect: token of the one it holds;
--                            robbed: set when something was taken from it; fades: set
--                            while it has a time limit; mail:
--                            packed {permits: name -> how many to come down to,
--                            holds: name -> us before which nothing departs}
--   last:<worker>    string  packed {call, robbed} of a worker that died              an hour later, or it leaves
--   permits          hash    name of a slot or scope -> packed {worker, requests      they are given back; the run is
--                            that it may have out, …}                                 finished
--   ask:<name>       hash    worker -> ms when it found no permit                     5 s later
--   asking           zset    the names of these                                       5 s later
--   rules            hash    digest -> packed rule set, but for its names; '<digest>  the last worker that has it
--                            :text' -> all of it, see lib/rules.lua                   leaves or dies; an hour after the
--   rules:<digest>   hash    name -> packed {interval us, burst, concurrency,         end
--                            jitter, floor us}
--   ruled            hash    worker -> digest of its rules                            it leaves or dies; an hour after
--                                                                                     the end
--   live             hash    name -> packed map of what was changed, see              the run is finished; told between
--                            throttle.lua                                             two runs (as tat, hold): 7 days
--   br               hash    slot -> packed circuit, see breaker.lua; '@': the crawl  the run is finished; with br:at
--   br:at            zset    slot -> ms when the breaker forgets it                   that is over
--   stall            hash    slot -> packed clock of a slot that fails, see          a success; the run is finished;
--                            failing.lua                                              7 days
--   stall:at         zset    slot -> ms when it last failed                           with it
--   stalled          hash    slot that was given up -> why; '\31': where the search  replayed, reset, a success; the run
--                            of what is delayed goes on                               is finished
--   tat              zset    name -> us when the next departure without a burst is    that is over
--                            on time, see departures.lua
--   origins          hash    name -> packed {span, before, pushed, last}, see         its tat is
--                            departures.lua
--   freed            hash    name -> packed bookings that were not used, see          the last of them is over; the run
--                            departures.lua                                           is finished
--   quota            hash    name -> packed departures that its quotas count, see      a quota that counts them; the
--                            quotas.lua                                              longest window is over
--   hold             zset    name -> us before which nothing departs; inf: paused     that is over, resumed; the run is
--                                                                                     finished
--   budgets          hash    name -> packed counts and limits, see budgets.lua        the run is finished
--   budgets:used     set     names of which some are used up, in bytes, errors or     the run is finished
--                            time
--   waiting          zset    worker -> since when it waits for a wake-up              woken, or it got something
--   dead             hash    id -> packed letter                                      replayed, purged, over max_dead;
--                                                                                     dead_ttl
--   dead:at          zset    id -> ms when it died                                    with it
--   dead:bodies      hash    id of a letter -> '<length of kind>:' .. kind .. what    with the letter
--                            the site answered
--   dead:kinds       hash    kind of failure -> packed ids of letters with such an    with them
--                            answer, the oldest first; '\31' -> bytes of all
--   f:<gen>:<n>      set     bucket n of the filter: decimal 63-bit numbers, small    the run is finished; seen_ttl
--                            enough for intset
--
-- item:        '\0' .. body, or char(deliveries) .. 8 bytes (double, ms when it was first taken from a dead worker)
--              .. body; the body perhaps behind a tag, see items.wrap
-- placed item: '<rank>:<length of slot>:' .. slot .. item
-- slot:        here the name of a list: the slot and, behind '\31' each, its scopes
-- rank:        2 * priority + 1, or 2 * priority for an entry of start(): so start entries come last within a priority
-- token:       10 hex digits of the call that leased, 4 of its place in it: unique for a worker, also after a fail-over
--              that lost writes, when a counter of the server's would give the same number twice
-- letter:      {slot, rank, hand-outs, ms when first lost or -1, body, reason, detail, worker, ms when it died,
--              {done, url, fingerprint, its number or '', retries, ms when it first failed or -1}}; the last part is
--              missing in old ones
--
-- Fields of meta: pending (suspects included), leased, seq (grows with all that is stored, leased or given back: two equal
-- readings mean that none of it was between them), run, born (of the crawl's record that it belongs to), rules (packed:
-- those in force, see lib/rules.lua), skew (ms added to the server's clock: tests move time with it), heard (ms when a
-- worker called last), freed (us when a worker last came, left or died: see turns.lua), steps (ms by which the server's
-- clock was set back, in all); of the filter: filter_gen, filter_level, filter_split, filter_count, filter_born (ms),
-- filter_old (packed: earlier generations), filter_doomed (packed: buckets to be deleted).
local meta = (function()
    local call = redis.call
    local key, stored, texts
    local FIELDS = {
        'pending', 'leased', 'seq', 'run', 'skew', 'filter_gen', 'filter_level', 'filter_split', 'filter_count', 'filter_born',
        'heard', 'steps', 'born', 'freed', 'rules', 'filter_old', 'filter_doomed',
    }
    local NUMBERS = 14  -- the first so many; the others are text
    local PART = 4000  -- values that one command gets: Lua can pass on about 8,000
    local meta = {  -- all fields at once: a table that grows field by field is made six times
        pending = 0, leased = 0, seq = 0, run = 0, skew = 0, filter_gen = 0, filter_level = 0, filter_split = 0, filter_count = 0,
        filter_born = 0, heard = 0, steps = 0, born = 0, freed = 0, rules = false, filter_old = false, filter_doomed = false,
        now = 0, now_us = 1, ahead = 1, prefix = '', silence = 1,
        AFTERGLOW = 3600000,  -- ms that what dead workers leave is kept
        -- Set by exchange.lua: there is none of stalled, suspect, delayed, dead and waiting. One question in place of six.
        is_quiet = 1, text = 1, save = 1, in_parts = 1, answers_in_parts = 1,
    }

    -- Without a fraction and below 2^53 as an integer: that is cheaper by far than the digits of a float, and there are
    -- several for each request.
    local function text(n)
        local known = texts[n]  -- many are the same: now, ranks, lengths
        if known then return known end
        known = string.format(n % 1 == 0 and n < 9e15 and n > -9e15 and '%d' or '%.0f', n)
        texts[n] = known
        return known
    end

    local function restore()  -- as it was when the script began
        for i, name in ipairs(FIELDS) do
            if not stored[i] or stored[i] == 0 then redis.pcall('HDEL', key, name)
            else redis.pcall('HSET', key, name, i <= NUMBERS and text(stored[i]) or stored[i]) end
        end
    end

    local function save()  -- writes what changed, in one call
        local args = {}
        journal.note(restore)
        -- A shard that a finished run has left, and on which nothing waits: who looks once more leaves no trace.
        if meta.run == 0 and meta.pending == 0 and meta.leased == 0 then meta.heard = stored[11] end
        for i = 1, #FIELDS do
            local name = FIELDS[i]
            local value = meta[name]
            if value ~= stored[i] then
                if value then
                    args[#args + 1] = name
                    args[#args + 1] = i <= NUMBERS and text(value) or value
                elseif stored[i] then call('HDEL', key, name) end
            end
        end
        if #args > 0 then call('HSET', key, unpack(args)) end
    end

    local function in_parts(command, where, list)  -- any number of values for one command
        for i = 1, #list, PART do call(command, where, unpack(list, i, math.min(i + PART - 1, #list))) end
    end

    local function answers_in_parts(command, where, list)  -- one answer for each of list
        if #list <= PART then return call(command, where, unpack(list)) end
        local out = {}
        for i = 1, #list, PART do
            local some = call(command, where, unpack(list, i, math.min(i + PART - 1, #list)))
            for _, one in ipairs(some) do out[#out + 1] = one end
        end
        return out
    end

    meta.text, meta.save, meta.in_parts, meta.answers_in_parts = text, save, in_parts, answers_in_parts

    local function fresh()
        key, texts = KEYS[1], {}
        meta.prefix, meta.silence = string.sub(key, 1, -5), nil
        -- Its fields; what is missing is 0, of the texts false.
        stored = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, false, false, false}  -- as it was when the script began
        if meta.now > 0 then  -- those of an earlier call
            meta.pending, meta.leased, meta.seq, meta.run, meta.skew, meta.heard, meta.steps = 0, 0, 0, 0, 0, 0, 0
            meta.filter_gen, meta.filter_level, meta.filter_split, meta.filter_count, meta.filter_born = 0, 0, 0, 0, 0
            meta.born, meta.freed, meta.rules, meta.filter_old, meta.filter_doomed = 0, 0, false, false, false
        end
        meta.now = 1
        local flat = call('HGETALL', key)
        for i = 1, #flat, 2 do
            local name = flat[i]
            local was = meta[name]
            if was == 0 or was == false then meta[name] = flat[i + 1] end  -- of all that meta has, only these are
        end
        for i = 1, #FIELDS do
            local value = meta[FIELDS[i]]
            if value and value ~= 0 then
                if i <= NUMBERS then value = tonumber(value) end
                stored[i], meta[FIELDS[i]] = value, value
            end
        end
        meta.is_quiet = false
        local seconds, rest = unpack(call('TIME'))
        local heard = meta.heard  -- ms when a worker called last, before this call
        local now_us = (tonumber(seconds) + (meta.skew + meta.steps) / 1000) * 1000000 + tonumber(rest)
        -- The server's clock was set back, or another server has taken over: time goes on from the last call. Were it only kept
        -- from going back, it would stand for as long as the step, and nothing would be leased.
        if now_us / 1000 < heard then
            local step = math.ceil(heard + 1 - now_us / 1000)  -- heard is rounded down: what was ready then is ready now
            meta.steps, now_us = meta.steps + step, now_us + step * 1000
        end
        meta.now, meta.now_us = math.floor(now_us / 1000), now_us
        meta.ahead = meta.skew + meta.steps  -- ms by which all this is ahead of the server's clock
    end

    return meta, fresh
end)()
