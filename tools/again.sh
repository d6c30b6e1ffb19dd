#!/bin/sh
# tools/again.sh CACHE COMMAND…: runs pytest. If one or two tests fail, these are run once more, by themselves, and
# named: thousands of tests with real processes share the machine, and it may have stood still. More than two fail.
# A test that is named here more than once is a defect, of the test or of the code: mend it.
cache=$1
shift
rm -rf "$cache"
"$@" -o cache_dir="$cache" && exit 0
code=$?
[ "$code" = 1 ] || exit "$code"
failed=$(tr ',' '\n' 2>/dev/null <"$cache/v/cache/lastfailed" | grep '::' || true)
[ -n "$failed" ] && [ "$(printf '%s\n' "$failed" | wc -l)" -le 2 ] || exit 1
printf 'again, by themselves:\n%s\n' "$failed"
exec "$@" -o cache_dir="$cache" -n 0 --lf --lfnf=none
