-- uses: cache
-- {entries, bytes}
return {redis.call('HLEN', cache.VALUES) + cache.count('members'), cache.count('bytes')}
