-- ARGV: decimal fingerprints -> a 1 or 0 for each: whether it was known
local olds, out = older(), {}
for i, fp in ipairs(ARGV) do out[i] = forget(olds, fp) and 1 or 0 end
save()
return out
