#!/bin/sh
# Scrapy's own tests with the add-on on by default:
#
#   tools/scrapy_tests.sh newest [pytest's arguments…]
#   tools/scrapy_tests.sh oldest [pytest's arguments…]
#   tools/scrapy_tests.sh newest quick     what `make test` runs: the files marked in tests/scrapy_suite/files.txt
#   tools/scrapy_tests.sh newest setup     the environment and no tests
#
# The version is that of .venv or .venv-oldest (make setup). Its source distribution has the tests; they run in an
# environment of their own, .venv-scrapy-suite/newest or /oldest. What must fail, and why: tests/scrapy_suite/differences.txt.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
which=${1:-newest}
[ $# = 0 ] || shift
case $which in
newest) from=.venv ;;
oldest) from=.venv-oldest ;;
*) echo "scrapy_tests: newest or oldest, not $which" >&2; exit 2 ;;
esac
only=
case ${1:-} in quick | setup) only=$1; shift ;; esac

version=$("$from/bin/python" -c 'import scrapy; print(scrapy.__version__)')
base=$("$from/bin/python" -c 'import sys; print(sys.base_exec_prefix + "/bin/python%d.%d" % sys.version_info[:2])')
folder=$root/.venv-scrapy-suite/$which
# What Scrapy's tox.ini asks for, of 2.14 and of later versions.
needs="attrs pexpect psutil pyftpdlib pygments pytest>=8.4.1 pytest-rerunfailures pytest-timeout pytest-twisted pytest-xdist sybil testfixtures Pillow h2 brotli"

make_environment() {
    rm -rf "$folder"
    mkdir -p "$folder/source"
    # shellcheck disable=SC2086 # one word each
    "$base" -m venv "$folder/env" &&
        "$folder/env/bin/python" -m pip install -q --disable-pip-version-check -e ".[redis]" "scrapy==$version" $needs &&
        "$folder/env/bin/python" -m pip download -q --disable-pip-version-check --no-deps --no-binary scrapy -d "$folder" "scrapy==$version" &&
        tar -xzf "$folder/scrapy-$version.tar.gz" -C "$folder/source" --strip-components 1 &&
        rm -rf "$folder/source/scrapy" && # the installed one is tested
        echo "$stamp" > "$folder/.stamp"
}

stamp=$({ sed '/^\[tool\.ruff\]/q' pyproject.toml; cat tools/scrapy_tests.sh; echo "$base $version"; } | cksum)
if [ ! -f "$folder/.stamp" ] || [ "$(cat "$folder/.stamp")" != "$stamp" ]; then
    echo "scrapy_tests: .venv-scrapy-suite/$which (Scrapy $version)"
    if ! make_environment; then
        echo "scrapy_tests: Scrapy $version, its source distribution or what its tests need can't be installed" >&2
        # As with servers that are not there: `make test` goes on, unless everything has to be there.
        [ "$only" = quick ] && [ "${MOCRA_REQUIRE_SERVICES:-}" != 1 ] || exit 1
        echo "scrapy_tests: skipped" >&2
        exit 0
    fi
fi
[ "$only" != setup ] || exit 0

cd "$folder/source"
cp "$root/tests/scrapy_suite/our_httpcache.py" tests/test_our_httpcache.py # its tests of the HTTP cache, with ours
files=
for pattern in $(awk -v only="$only" '/^tests/ && (only == "" || $2 == only) { print $1 }' "$root/tests/scrapy_suite/files.txt"); do
    for file in $pattern; do
        [ ! -f "$file" ] || files="$files $file" # one version has it, another not
    done
done
PYTHONPATH=$root/tests/scrapy_suite/switched_on:$folder/source # scripts of the tests import `tests`
SCRAPY_SUITE=$which
SCRAPY_SUITE_ONLY=$only
export PYTHONPATH SCRAPY_SUITE SCRAPY_SUITE_ONLY
# shellcheck disable=SC2086
exec ../env/bin/python -m pytest -q -p listed -p no:cacheprovider --reactor=asyncio -n "${JOBS:-2}" --dist loadfile --timeout 300 $files "$@"
