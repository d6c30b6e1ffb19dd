-- uses: journal budgets
-- A shard learns how wide names stand, gives back what it has and does not use, and says what it has had. ARGV[1], packed: a
-- list of {name, see budgets.learn} each -> packed: a report of each
return journal.whole(function()
    local out = {}
    for i, one in ipairs(cmsgpack.unpack(ARGV[1])) do
        local name, said = unpack(one)
        local r = budgets.of(name)
        if budgets.is_stored(name) or said.share[1] + said.share[3] > 0 then
            budgets.learn(r, said)
            budgets.give_back(r)
            budgets.touch(name)
        end
        out[i] = budgets.report(r)
    end
    budgets.save()
    journal.commit()
    return cmsgpack.pack(out)
end)
