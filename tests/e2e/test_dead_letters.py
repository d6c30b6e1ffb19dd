"""Dead letters in real ``scrapy crawl`` processes on a real Redis, and ``scrapy mocra dead``."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import PROJECT, Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

QUICK = {"MOCRA_LEASE": 1, "MOCRA_IDLE_POLL": 0.2, "MOCRA_RETRY_BASE": 0.1}


def dead(workers: Workers, *arguments: str) -> CompletedProcess[str]:
    return scrapy(PROJECT, "mocra", "dead", *arguments, "-s", f"MOCRA_BACKEND={workers.backend}")


def letters(workers: Workers, spider: str, *arguments: str) -> list[dict[str, Any]]:
    done = dead(workers, "export", spider, *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def crawl(workers: Workers, spider: str, site: MockSite, environment: dict[str, str] | None = None, **more: Any) -> int:
    return workers.start(spider, environment, site=site.url, **{**QUICK, **more}).wait(300)


def test_what_retry_gives_up(site: MockSite, workers: Workers) -> None:
    """With its reason, attempts, times; the crawl finishes; replay gives it all its retries again."""
    busy, gone = "/moods/503/busy", "/moods/drop/gone"
    paths = f"{busy[1:]} {gone[1:]} ok/fine status/404/x"
    assert crawl(workers, "moods", site, paths=paths, RETRY_TIMES=2) == 0
    assert site.count(busy) == 3
    found = {letter["url"].removeprefix(site.url): letter for letter in letters(workers, "moods")}
    assert set(found) == {busy, gone}, "a 404 is an answer"
    assert {x["reason"] for x in found.values()} == {"retry"}
    letter = found[busy]
    assert letter["detail"] == "Given up after 2 retries: 503 Service Unavailable"
    assert "Traceback" in found[gone]["detail"] or "Error" in found[gone]["detail"]
    assert (letter["retries"], letter["deliveries"], letter["done"], letter["slot"]) == (2, 1, False, "127.0.0.1")
    assert letter["first_failed_at"] < letter["died_at"]
    assert letter["worker"]
    assert len(letter["fingerprint"]) == 40
    assert letter["request"]["method"] == "GET"
    assert workers.stats()["mocra/dead/retry"] == 2
    assert len(workers.events("finished")) == 1
    # Replayed it is tried three times more, as if for the first time.
    done = dead(workers, "replay", "moods", "--slot", "127.0.0.1", "--reason", "retry", "--limit", "1")
    assert done.stdout == "1 dead letter is back in the queue of crawl 'crawling:moods'\n"
    counted = site.count(busy) + site.count(gone)
    assert crawl(workers, "moods", site, paths=paths, RETRY_TIMES=1) == 0
    assert site.count("/ok/fine") == 1, "the finished run goes on, start() is not run again"
    assert site.count(busy) + site.count(gone) >= counted + 2
    assert sorted(x["retries"] for x in letters(workers, "moods")) == [1, 2]


def test_dead_retries_can_be_switched_off(site: MockSite, workers: Workers) -> None:
    assert crawl(workers, "moods", site, paths="moods/503/busy", RETRY_TIMES=1, MOCRA_DEAD_RETRIES=False) == 0
    assert letters(workers, "moods") == []


@pytest.mark.parametrize(("errback", "reasons"), [("", ["download"]), ("handle", [])])
def test_a_download_that_is_not_retried(site: MockSite, workers: Workers, errback: str, reasons: list[str]) -> None:
    """Without an errback that takes it, a failed download does not disappear silently."""
    assert crawl(workers, "moods", site, paths="moods/drop/gone", RETRY_ENABLED=False, errback=errback) == 0
    found = letters(workers, "moods")
    assert [letter["reason"] for letter in found] == reasons
    assert [e["item"] for e in workers.events("item")] == (
        [{"handled": f"{site.url}/moods/drop/gone"}] if errback else []
    )


@pytest.mark.parametrize("backend", ["redis", "memory://"])
@pytest.mark.parametrize("policy", ["ack", "dead", "retry"])
def test_an_error_in_a_callback(site: MockSite, workers: Workers, tmp_path: Path, policy: str, backend: str) -> None:
    if backend != "redis":
        workers.backend = backend
    more = {"MOCRA_ON_ERROR": policy, "MOCRA_MAX_DELIVERIES": 3, "mended": tmp_path / "mended"}
    assert crawl(workers, "faulty", site, **more) == 0
    assert site.count("/ok/parent") == (3 if policy == "retry" else 1)
    assert site.count("/ok/child") == 1, "what was stored before is not stored again"
    assert site.count("/ok/other") == 1
    assert site.count("/ok/late") == 0
    stats = workers.stats()
    assert stats["mocra/dead/callback"] == 1
    assert stats.get("mocra/retry/errors", 0) == (2 if policy == "retry" else 0)
    assert stats["spider_exceptions/ValueError"] == site.count("/ok/parent")
    assert len(workers.events("finished")) == 1
    if backend != "redis":
        return
    (letter,) = letters(workers, "faulty")
    assert (letter["reason"], letter["done"]) == ("callback", policy == "ack")
    assert letter["retries"] == (2 if policy == "retry" else 0)
    assert "ValueError: the page is not what it was" in letter["detail"]
    assert "in parse" in letter["detail"]
    assert "hunter2" not in letter["detail"]
    assert letter["url"] == f"{site.url}/ok/parent"
    # After the fix: what is not done is replayed by --all, a record only when asked for.
    (tmp_path / "mended").touch()
    done = dead(workers, "replay", "faulty", "--all")
    if policy == "ack":
        assert "0 dead letters are back" in done.stdout
        assert "1 record of requests that are done: not replayed; --records with replays these, too" in done.stdout
        done = dead(workers, "replay", "faulty", "--all", "--records", "with")
    assert "1 dead letter is back" in done.stdout
    assert crawl(workers, "faulty", site, **more) == 0
    assert site.count("/ok/late") == 1
    assert letters(workers, "faulty") == []


def test_mended_in_time(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    """MOCRA_ON_ERROR = "retry", and the second attempt succeeds: nothing is left."""
    worker = workers.start(
        "faulty",
        site=site.url,
        mended=tmp_path / "mended",
        **{**QUICK, "MOCRA_ON_ERROR": "retry", "MOCRA_RETRY_BASE": 4},
    )
    workers.until("item")
    (tmp_path / "mended").touch()
    assert worker.wait(300) == 0
    assert site.count("/ok/parent") in (1, 2, 3)
    assert site.count("/ok/late") == 1
    assert letters(workers, "faulty") == []


def test_a_callback_that_kills_its_process(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    """A dead letter after the cap, the crawl finishes; after the fix a replay fetches it."""
    more = {"MOCRA_MAX_DELIVERIES": 2, "mended": tmp_path / "mended"}
    codes = []
    while not codes or codes[-1] == 7:
        codes.append(crawl(workers, "killing", site, **more))
        assert len(codes) <= 4
    assert codes == [7, 7, 0]
    assert site.count("/ok/other") >= 1
    (letter,) = letters(workers, "killing")
    assert (letter["reason"], letter["deliveries"], letter["done"]) == ("deliveries", 2, False)
    assert letter["detail"].startswith("2 workers died while they held it, the last one: ")
    assert letter["url"] == f"{site.url}/ok/parent", "read from its bytes: the queue itself does not know"
    assert letter["first_failed_at"] < letter["died_at"]
    done = dead(workers, "list", "killing")
    assert "1 dead letter: deliveries 1" in done.stdout
    (tmp_path / "mended").touch()
    others = site.count("/ok/other")
    assert "1 dead letter is back" in dead(workers, "replay", "killing", letter["id"], "--forget").stdout
    assert crawl(workers, "killing", site, **more) == 0
    assert site.count("/ok/parent") == 3
    assert site.count("/ok/other") == others
    assert [e["item"]["url"] for e in workers.events("item")][-1] == f"{site.url}/ok/parent"
    assert letters(workers, "killing") == []


def test_an_item_that_a_pipeline_fails_on(site: MockSite, workers: Workers) -> None:
    """The page is done, the item is on record."""
    pipelines = {"ITEM_PIPELINES": '{"crawling.pipelines.BreakingPipeline": 1}'}
    assert crawl(workers, "list", site, paths="ok/good,ok/bad", **pipelines) == 0
    (letter,) = letters(workers, "list")
    assert (letter["reason"], letter["done"], letter["url"]) == ("item", True, f"{site.url}/ok/bad")
    assert letter["detail"].startswith("{'url': ")
    assert "RuntimeError: no room for bad things" in letter["detail"]
    assert [e["item"]["url"] for e in workers.events("item")] == [f"{site.url}/ok/good"]
    assert workers.stats()["mocra/dead/item"] == 1


def test_the_command_line(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    paths = " ".join(f"moods/503/{n}" for n in range(5))
    assert crawl(workers, "moods", site, paths=paths, RETRY_TIMES=0) == 0
    done = dead(workers, "list", "moods", "--limit", "2")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "5 dead letters: retry 5; 3 more: --limit N, or export"
    first = done.stdout.split(maxsplit=1)[0]
    assert "/moods/503/" in done.stdout
    shown = dead(workers, "show", "moods", first, "nonsense")
    assert shown.returncode == 1
    assert "reason: retry" in shown.stdout
    assert "Given up after 0 retries: 503 Service Unavailable" in shown.stdout
    assert "Unknown IDs: 1 (" in shown.stderr
    # By the crawl's name, from a file, by time.
    out = tmp_path / "letters.jsonl"
    assert dead(workers, "export", "--crawl", "moods", "-o", str(out), "--since", "1h").returncode == 0
    assert len(out.read_text().splitlines()) == 5
    assert letters(workers, "moods", "--until", "1h") == letters(workers, "moods", "--reason", "item") == []
    assert dead(workers, "purge", "moods", first).stdout == "1 dead letter purged\n"
    assert dead(workers, "purge", "moods", "--slot", "127.0.0.1", "--limit", "3").stdout == "3 dead letters purged\n"
    assert dead(workers, "replay", "moods", first).returncode == 1
    assert dead(workers, "purge", "moods", "--all").stdout == "1 dead letter purged\n"
    assert dead(workers, "list", "moods").stdout == "0 dead letters\n"


SIX = """
    import scrapy


    class Pipeline:
        def process_item(self, item):
            raise RuntimeError("no room")


    class Shop(scrapy.Spider):
        name = "shop"
        start_urls = ["SITE/ok/page"]

        def parse(self, response):
            for n in range(6):
                yield {"n": n}
            raise RuntimeError("and an error")
"""


def test_a_delivery_with_seven_letters_is_replayed_once(site: MockSite, redis_url: str, tmp_path: Path) -> None:
    settings = f'{ONE_LINE}ITEM_PIPELINES = {{"shop.spiders.first.Pipeline": 1}}\nMOCRA_BACKEND = "{redis_url}"\n'
    project = write_project(tmp_path, SIX.replace("SITE", site.url), settings)
    for n in (1, 2, 3):
        assert scrapy(project, "crawl", "shop").returncode == 0
        assert site.count("/ok/page") == n
        listed = scrapy(project, "mocra", "dead", "list", "shop").stdout
        assert listed.splitlines()[-1] == "7 dead letters: callback 1, item 6"
        # Options and words in any order, and all letters or one of them.
        which = ["--all"] if n == 1 else [listed.split()[0]]
        done = scrapy(project, "mocra", "dead", "replay", "--crawl", "shop:shop", *which, "--records", "with")
        said = "7 dead letters of 1 request are" if n == 1 else "1 dead letter is"
        assert done.stdout == f"{said} back in the queue of crawl 'shop:shop'\n", done.stderr
        assert scrapy(project, "mocra", "dead", "list", "shop").stdout == "0 dead letters\n"


def test_a_replay_ends_although_all_fails_again(site: MockSite, workers: Workers) -> None:
    """A worker that waits for more fetches what is replayed while the command still reads."""
    paths = " ".join(f"moods/503/{n}" for n in range(450))
    options = {"RETRY_TIMES": 0, "MOCRA_CLOSE": "never", "MOCRA_THROTTLE_FEEDBACK_STATUSES": ""}
    worker = workers.start("moods", site=site.url, **{**QUICK, **options, "paths": paths})
    eventually(lambda: "450 dead letters" in dead(workers, "list", "moods", "--limit", "1").stdout)
    assert dead(workers, "replay", "moods", "--all").stdout.startswith("450 dead letters are back")
    eventually(lambda: "450 dead letters" in dead(workers, "list", "moods", "--limit", "1").stdout)
    worker.terminate()
    assert worker.wait(300) == 0
    assert sum(len(times) for times in site.arrivals().values()) == 900


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["list"], 2, "Whose? scrapy mocra dead list SPIDER, or --crawl NAME"),
        (["list", "nobody"], 2, "There is no spider 'nobody'. Spiders: "),
        (["list", "--crawl", "nobody"], 1, "knows no crawl 'crawling:nobody'"),
        (["replay", "moods"], 2, "Which ones? Name IDs, or --reason"),
        (["purge", "moods"], 2, "all: purge --all"),
        (["show", "moods"], 2, "list tells the IDs"),
        (
            ["list", "moods", "--since", "yesterday"],
            2,
            "'yesterday' is not a time: write 2h, 30m, 7d, or 2026-01-31T08:00",
        ),
        (["list", "moods", "--limit", "0"], 2, "'0' is not a number from 1 on"),
        (["bury", "moods"], 2, "invalid choice: 'bury'"),
        (["list", "moods", "-s", "MOCRA_BACKEND=memory://"], 1, "there is nothing to look at"),
        (["list", "moods", "-s", "MOCRA_BACKEND=redis://127.0.0.1:1", "-s", "MOCRA_START_TIMEOUT=0"], 1, "127.0.0.1:1"),
        (["list", "moods", "-s", "MOCRA_DEAD_TTL=old"], 1, "MOCRA_DEAD_TTL: 'old' is not a time in seconds"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense(workers: Workers, arguments: list[str], code: int, says: str) -> None:
    backend = (
        []
        if "-s" in arguments and "MOCRA_BACKEND" in " ".join(arguments)
        else ["-s", f"MOCRA_BACKEND={workers.backend}"]
    )
    done = scrapy(PROJECT, "mocra", "dead", *arguments, *backend)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
