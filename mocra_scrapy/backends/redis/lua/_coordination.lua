-- Coordination of one thing: a role, a lock, a namespace of values, the list of workers. KEYS[1] is any key of it; P is what all
-- its keys begin with, up to and with the last colon. The tag begins with "+", which no name of a crawl contains.
--
-- key                                type    holds                                                        gone when
-- P{+lead:<role>} term               hash    leader, number of the term, until (ms)                       never: numbers grow by it
-- P{+lock:<name>} permits             hash    '@'owner -> number; '#' last number; 'w' someone waits;      an hour after the last hold
--                                            '~'owner -> ms until which it counts as waiting
-- P{+lock:<name>} until              zset    owner -> ms when its place is free again                     an hour after the last hold
-- P{+lock:<name>} line               zset    owner -> us when it began to wait                            an hour after the last wait
-- P{+shared:<namespace>} values      hash    name -> packed {version, fence, value or false}              the last value is deleted
-- P{+workers} alive                  zset    worker -> ms when it falls off the list                      nobody is there
-- P{+workers} reports                hash    worker -> packed {crawl, facts}                              nobody is there
-- P… skew                            string  ms added to the server's clock (tests move time with it)     the test ends
--
-- numbers and versions: microseconds of the server's clock, or one more than the last: so they grow also over a deletion by hand and
-- a server that came back empty. Doubles are exact up to the year 2255.
local P = string.match(KEYS[1], '^(.*:)[^:]*$')
local call = redis.call
local AFTERGLOW = 3600000  -- ms that the record of a lock outlives its last hold

local time = call('TIME')
local now_us = (tonumber(time[1]) * 1000 + tonumber(call('GET', P .. 'skew') or 0)) * 1000 + tonumber(time[2])
local now = math.floor(now_us / 1000)

local function text(n) return string.format('%.0f', n) end

local function greater(last) return math.max(tonumber(last or 0) + 1, now_us) end
