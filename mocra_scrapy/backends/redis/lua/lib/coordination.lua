-- Coordination of one thing: a role, a lock, a namespace of values, the list of workers. KEYS[1] is any key of it; prefix is
-- what all its keys begin with, up to and with the last colon. The tag begins with "+", which no name of a crawl contains.
--
-- key                             type    holds                                                 gone when
--   {+lead:<role>} term           hash    leader, number of the term, until (ms); heard, steps  never: numbers grow by it
--   {+lock:<name>} permits        hash    '@'owner -> number; last: number; awaited: someone    an hour after the last hold
--                                         waits; '~'owner -> ms until which it stands in line;
--                                         heard: ms of the last hold or wait; steps: ms by which
--                                         the server's clock was set back since
--   {+lock:<name>} until          zset    owner -> ms when its place is free again              an hour after the last hold
--   {+lock:<name>} line           zset    owner -> us when it began to wait                     an hour after the last wait
--   {+shared:<namespace>} values  hash    name -> packed {version, fence, value or false, ends} the last value is deleted or over
--   {+shared:<namespace>} ends    zset    name -> ms when the value is gone by itself           the last of these is
--   {+cache:<namespace>:<part>} values  hash  name -> value of the cache                         its entries are deleted, over,
--   … ends                        zset    'v' name of a value or 's' name of a sorted set -> ms made room; a second after the
--                                         when it is gone                                       last would have ended
--   … names                       zset    name of a value -> 0, for prefixes                    with its entries
--   … sets                        hash    name of a sorted set -> its bytes                     with its entries
--   … set                         zset    (set:<name>) member -> score                          with its entry
--   … cut                         hash    name of a large value -> id:pieces:bytes              with its entry
--   … piece                       string  (piece:<id>:<n>) a part of a large value              with its entry; a minute
--   … about                       hash    bytes; members: of all sorted sets                    nothing is left
--   {+workers} alive              zset    worker -> ms when it falls off the list               nobody is there
--   {+workers} reports            hash    worker -> packed {crawl, facts}                       nobody is there
--   {+proxies:<pool>} health       hash    proxy, NUL, site -> packed record; NUL, site -> how the   a week after the last turn
--                                         site does: see proxies.lua
--   {+proxies:<pool>} changed      zset    name in health -> version of its last change            a week after the last turn
--   {+proxies:<pool>} pool         hash    version; refresh; short: ms; call:<worker>: number      a week after the last turn
--   {+proxies:<pool>} held         hash    worker -> packed {proxy -> permits}                     it left or died
--   {+proxies:<pool>} taken        hash    proxy -> permits that all workers hold                  nobody holds one
--   {+proxies:<pool>} bound        hash    sticky key -> proxy                                     it is not used any more
--   {+proxies:<pool>} bound_until  zset    sticky key -> ms                                        it is not used any more
--   … skew                        string  ms added to the server's clock (tests move time)      the test ends
--
-- numbers and versions: microseconds of the server's clock, or one more than the last: so they grow also over a deletion by
-- hand and a server that came back empty. Doubles are exact up to the year 2255.
local coordination = (function()
    local prefix = string.match(KEYS[1], '^(.*:)[^:]*$')
    local time = redis.call('TIME')
    local skew = tonumber(redis.call('GET', prefix .. 'skew') or 0)
    local now_us = (tonumber(time[1]) * 1000 + skew) * 1000 + tonumber(time[2])

    local function text(n) return string.format('%.0f', n) end

    local coordination = {prefix = prefix, now_us = now_us, now = math.floor(now_us / 1000), text = text}

    function coordination.greater(last) return math.max(tonumber(last or 0) + 1, coordination.now_us) end

    -- A leader or holder that died must not keep what it had until a clock that was set back is where it was, or the clock of
    -- another server which has taken over: time goes on from when the record of it, *hash*, heard of somebody last. Were it
    -- only kept from going back, it would stand for as long as the step.
    function coordination.steady(hash)
        local heard, steps = unpack(redis.call('HMGET', hash, 'heard', 'steps'))
        heard, steps = tonumber(heard or 0), tonumber(steps or 0)
        if now_us / 1000 + steps < heard then
            steps = math.ceil(heard + 1 - now_us / 1000)  -- heard is rounded down: who asks now comes after who asked then
            redis.call('HSET', hash, 'steps', text(steps))
        end
        coordination.now, coordination.now_us = coordination.now + steps, now_us + steps * 1000
    end

    return coordination
end)()
