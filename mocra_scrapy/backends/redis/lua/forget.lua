-- uses: journal meta filter
-- ARGV: decimal fingerprints -> a 1 or 0 for each: whether it was known
return journal.whole(function()
    local out = {}
    for i, fp in ipairs(ARGV) do out[i] = filter.forget(fp) and 1 or 0 end
    meta.save()
    return out
end)
