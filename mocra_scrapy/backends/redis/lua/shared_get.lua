-- uses: shared_values
-- ARGV: name -> {version, fence, value or false}
return shared_values.answer(shared_values.read(ARGV[1]))
