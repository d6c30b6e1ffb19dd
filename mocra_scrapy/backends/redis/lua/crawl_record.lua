-- uses: meta crawl
-- On shard 0, for people -> {the job as it was told or '', ms when the run began, ms when a worker called last, who deletes the
-- crawl or ''}
local about, begun, by = unpack(redis.call('HMGET', crawl.key, 'about', 'begun', 'reset_by'))
return {about or '', tonumber(begun or 0), meta.heard, by or ''}
