-- uses: throttle hold
-- ARGV[1], packed: a map with channel, name; quotas: {{count, window us}, ...}, by window; missing: as the rules say
local asked = cmsgpack.unpack(ARGV[1])
hold.announce_on(asked.channel)
local change = throttle.change_of(asked.name)
change.quotas = asked.quotas
throttle.set_change(asked.name, change)
hold.reschedule(asked.name)
hold.keep_between_runs()
return 1
