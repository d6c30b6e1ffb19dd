-- uses: journal budgets blocks
-- Blocks of wide names, of which this shard is the home. ARGV[1], packed: a list, see blocks.draw -> packed: its answers
return journal.whole(function()
    local out = {}
    for i, said in ipairs(cmsgpack.unpack(ARGV[1])) do out[i] = blocks.draw(said) end
    budgets.save()
    journal.commit()
    return cmsgpack.pack(out)
end)
