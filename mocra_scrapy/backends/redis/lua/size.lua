-- uses: sizes
-- ARGV: ms for which dead letters are kept, or 0 -> {pending, delayed, leased, dead, seen}
return sizes(tonumber(ARGV[1]))
