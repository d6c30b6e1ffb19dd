-- uses: crawl log
-- -> {run of the log, moves, {partition, where it begins, position, ...}, run, born}
local state, record = log.state(), crawl.read()
state[4], state[5] = record.run, record.born
return state
