-- ARGV: decimal fingerprints -> a 1 or 0 for each: whether it was known
local olds, out = older(), {}
for i, fp in ipairs(ARGV) do
    out[i] = 0
    if M.fc > 0 and call('SREM', bucket(M.fg, M.fl, M.fs, fp), fp) == 1 then
        M.fc, out[i] = M.fc - 1, 1
    end
    for _, g in ipairs(olds) do
        if g[4] > 0 and call('SREM', bucket(g[1], g[2], g[3], fp), fp) == 1 then g[4], out[i] = g[4] - 1, 1 end
    end
end
if #olds > 0 then M.fo = cmsgpack.pack(olds) end
save()
return out
