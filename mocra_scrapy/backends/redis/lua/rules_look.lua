-- uses: meta rules
-- -> version; digest, set, ...; worker, digest, ... of those that live
return {meta.text(rules.open().version), redis.call('HGETALL', rules.SETS), redis.call('HGETALL', rules.USED)}
