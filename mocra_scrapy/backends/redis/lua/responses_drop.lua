-- uses: journal responses
-- ARGV: id, ... Their responses are too many, their letters stay -> 1
return journal.whole(function()
    responses.drop(ARGV)
    return 1
end)
