-- uses: responses
-- ARGV: kind -> {id of a letter with a response of that kind, ...}
return responses.of_kind(ARGV[1])
