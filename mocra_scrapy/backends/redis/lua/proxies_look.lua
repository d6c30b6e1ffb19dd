-- uses: proxies
-- ARGV: version, how many at most -> packed {version, more, records}: those that changed after that version
local version, more, records = proxies.since(tonumber(ARGV[1]), tonumber(ARGV[2]))
return cmsgpack.pack({version, more, records})
