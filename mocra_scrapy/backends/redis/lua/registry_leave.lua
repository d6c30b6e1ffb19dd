-- uses: coordination
-- ARGV: worker
redis.call('ZREM', coordination.prefix .. 'alive', ARGV[1])
redis.call('HDEL', coordination.prefix .. 'reports', ARGV[1])
return 1
