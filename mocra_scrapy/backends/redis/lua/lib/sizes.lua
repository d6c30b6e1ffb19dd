-- uses: meta filter
-- sizes(ms for which dead letters are kept, or 0 or nil) -> {pending, delayed, leased, dead, seen} of this shard
local function sizes(dead_ttl)
    local call, prefix, pending = redis.call, meta.prefix, meta.pending
    if pending == 0 and call('EXISTS', prefix .. 'ready') == 1 then pending = 1 end  -- never "empty" while a slot has something
    if meta.is_quiet then return {pending, 0, meta.leased, 0, filter.seen()} end
    local oldest = (dead_ttl or 0) > 0 and '(' .. meta.text(meta.now - dead_ttl) or '-inf'
    return {
        pending, call('ZCARD', prefix .. 'delayed'), meta.leased, call('ZCOUNT', prefix .. 'dead:at', oldest, '+inf'),
        filter.seen(),
    }
end
