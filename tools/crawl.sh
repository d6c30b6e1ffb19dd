#!/bin/sh
# The main job on real pages: a project made from the suite's template crawls Python's own documentation, served on this machine.
#
#   make crawl                                                  one process, the embedded backend
#   make crawl WORKERS=3 BACKEND=redis://localhost:6379/0       three processes; kill one
#   make crawl PAGES=4000 OUT=/tmp/out
set -eu
cd "$(dirname "$0")/.."
workers=${WORKERS:-1} backend=${BACKEND:-memory://} pages=${PAGES:-3000} out=${OUT:-crawl-output}
bin=$PWD/.venv/bin
case $workers in *[!0-9]* | 0 | "") echo "crawl: WORKERS=$workers is not a number of processes" >&2; exit 2 ;; esac
case $pages in *[!0-9]* | 0 | "") echo "crawl: PAGES=$pages is not a number of pages" >&2; exit 2 ;; esac
case $backend in
memory:*) [ "$workers" = 1 ] || { echo "crawl: WORKERS=$workers needs a server: BACKEND=redis://localhost:6379/0" >&2; exit 2; } ;;
esac

rm -rf "$out/docs_crawl" "$out"/worker*.log
mkdir -p "$out"
"$bin/scrapy" mocra startproject docs_crawl "$out/docs_crawl" > "$out/startproject.log"
"$bin/scrapy" mocra site --port 0 --pages "$pages" > "$out/site.txt" &
site=$!
pids= tail=
trap 'kill $site $pids $tail 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
for _ in $(seq 1200); do [ -s "$out/site.txt" ] && break; kill -0 $site 2>/dev/null || break; sleep 0.05; done
url=$(cut -d " " -f 1 "$out/site.txt")
[ -n "$url" ] || { echo "crawl: the documentation server did not start" >&2; exit 1; }
echo "crawl: $workers worker(s) on $backend crawl about $pages pages of $url"

log=$PWD/$out/worker
case $out in /*) log=$out/worker ;; esac
cd "$out/docs_crawl"
number=0
set --
while [ "$number" -lt "$workers" ]; do
    number=$((number + 1))
    # The short lease is for those who kill one: what it had comes back after so many seconds.
    MOCRA_BACKEND=$backend "$bin/scrapy" crawl docs -a start="$url" -s LOGSTATS_INTERVAL=5 -s RETRY_ENABLED=False \
        -s MOCRA_LEASE=5 --logfile "$log$number.log" &
    pids="$pids $!"
    set -- "$@" "$log$number.log"
done
cd - >/dev/null
[ "$workers" = 1 ] || echo "crawl: processes$pids. Kill one: kill -9 ${pids##* }"

# Progress: Scrapy's own LogStats lines, and what went wrong.
tail --pid=$$ -q -n +1 -F "$@" 2>/dev/null | grep --line-buffered -E "Crawled [0-9]+ pages|seeds run|is finished|ERROR|WARNING" &
tail=$!
failed=0 left=0
for pid in $pids; do
    code=0
    wait "$pid" 2>/dev/null || code=$?
    case $code in
    0) left=$((left + 1)) ;;
    137) echo "crawl: process $pid was killed" ;;
    *) failed=1 ;;
    esac
done
pids=
kill $tail 2>/dev/null || true
pkill -P $$ tail 2>/dev/null || true

items="$out/items.jsonl"
cp "$out/docs_crawl/items/docs.jsonl" "$items" 2>/dev/null || : > "$items"
count=$(wc -l < "$items")
different=$(sed 's/.*"url": "\([^"]*\)".*/\1/' "$items" | sort -u | wc -l)
echo "crawl: $count items of $different pages in $items, logs in $out/worker*.log"
[ "$failed" = 0 ] && [ "$left" -gt 0 ] && [ "$count" -gt 0 ]
