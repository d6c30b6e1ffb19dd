-- uses: crawl
-- On shard 0: something was stored after the end on another one -> {run, finished, seeding, born}
crawl.reopen()
return crawl.state()
