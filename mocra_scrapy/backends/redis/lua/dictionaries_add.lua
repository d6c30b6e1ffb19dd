-- uses: meta
-- ARGV: identity (4 hex digits), content, instead_of or '' -> identity of the current one afterwards, or ''. Repeating it
-- changes nothing.
local call, key, identity, content, instead_of = redis.call, meta.prefix .. 'dictionaries', ARGV[1], ARGV[2], ARGV[3]
local MOST = 100
local current = call('HGET', key, 'current') or ''
local known = call('HGET', key, identity)
if current ~= instead_of or (known and known ~= content) then return current end
if not known and call('HLEN', key) > MOST then return current end
call('HSET', key, identity, content, 'current', identity)
return identity
