-- uses: budgets
-- ARGV: cursor, how names begin -> {cursor, name, {five, limits, refused: budget, number, ...; told}, packed, ...}
local cursor, found = unpack(redis.call('HSCAN', budgets.KEY, ARGV[1], 'COUNT', 200))
local out = {cursor}
for i = 1, #found, 2 do
    if string.sub(found[i], 1, #ARGV[2]) == ARGV[2] then
        local r = budgets.open(found[i], found[i + 1])
        local refused = {}
        for which, n in pairs(r.refused) do refused[#refused + 1], refused[#refused + 2] = which, n end
        out[#out + 1] = found[i]
        out[#out + 1] = cmsgpack.pack({{r[1], r[2], r[3], r[4], budgets.used(r, 5)}, r.limits, refused, r.told})
    end
end
return out
