-- uses: proxies
-- ARGV: worker. It holds nothing any more
proxies.leave(ARGV[1])
return 1
