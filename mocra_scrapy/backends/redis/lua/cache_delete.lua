-- uses: cache
-- ARGV: channel, names -> how many values and sorted sets were there
local there = 0
for i = 2, #ARGV do
    for _, kind in ipairs({'v', 's'}) do
        local entry = kind .. ARGV[i]
        if cache.left(entry) then
            there = there + 1
            cache.drop(entry)
        end
    end
    cache.tell(ARGV[1], ARGV[i])
end
cache.forget()
return there
