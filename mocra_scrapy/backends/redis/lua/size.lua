-- -> {pending, delayed, leased, dead, seen}
return sizes()
