-- uses: meta crawl workers
-- On shard 0. ARGV: worker, lease ms -> 1 when it is this worker that seeds
local worker, lease = ARGV[1], tonumber(ARGV[2])
workers.renew(worker, lease)
meta.save()
local record = crawl.read()
local stage, seeder = record.seeding, record.seeder
if stage == 'done' then return 0 end
if stage == 'claimed' and seeder ~= worker and (workers.ends_at(seeder) or -1) >= meta.now then return 0 end
crawl.seed('claimed', worker)
return 1
