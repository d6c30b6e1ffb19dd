"""robots.txt files that workers share, and their Crawl-delay; no process, no site."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from gzip import BadGzipFile
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse, urlsplit

import pytest
from scrapy import Request
from twisted.web.client import ResponseFailed

from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models.coordination import robots_namespace
from mocra_scrapy.politeness import crawl_delays
from mocra_scrapy.politeness.crawl_delays import CrawlDelays
from mocra_scrapy.politeness.robots import (
    LARGEST,
    STALE,
    Postponed,
    Unreadable,
    origin_of,
    shortened,
)
from tests.unit.politeness.conftest import Stage

SITE = "http://a.test"


def test_the_origin_names_no_user() -> None:
    assert origin_of(urlsplit("HTTP://Joe:s3cret@A.test:81/x")) == "http://a.test:81"
    assert origin_of(urlparse("https://A.test/@b")) == "https://a.test"


async def test_one_worker_fetches_for_all(stage: Stage) -> None:
    workers = [stage.worker() for _ in range(3)]
    found = await asyncio.gather(*(one.find(SITE, stage.gives(body=b"x")) for one in (*workers, *workers)))
    assert (stage.asked, {file.body for file in found}) == (1, {b"x"})
    assert (await stage.worker().find("https://a.test", stage.gives(body=b"y"))).body == b"y", "another origin"
    stage.now += 86_399
    assert (await stage.worker().find(SITE, stage.gives(body=b"new"))).body == b"x"
    stage.now += 2
    assert (await workers[0].find(SITE, stage.gives(body=b"new"))).body == b"new"
    assert (await stage.worker().find(SITE, stage.gives())).body == b"new"
    for one in workers:
        await one.close()


@pytest.mark.parametrize(("status", "body"), [(404, b""), (403, b""), (301, b""), (204, b"x"), (200, b"x")])
async def test_what_there_is_not_allows_everything(stage: Stage, status: int, body: bytes) -> None:
    assert (await stage.worker().find(SITE, stage.gives(status, b"x"))).body == body


async def test_5xx_is_not_now_for_all_workers(stage: Stage) -> None:
    one, other = stage.worker(MOCRA_RETRY_CAP=3), stage.worker()
    for tries, wait in ((1, 1.0), (2, 2.0), (3, 3.0)):
        file = await one.find(SITE, stage.gives(503))
        assert (file.body, file.tries, file.not_now - stage.now) == (None, tries, wait)
        again = await other.find(SITE, stage.gives(200, b"x"))
        assert (again.body, again.not_now, stage.asked) == (None, file.not_now, tries), "not asked again so soon"
        stage.now += wait + 0.1
    file = await one.find(SITE, stage.gives(429, wait=b"40"))
    assert file.not_now - stage.now == 40
    stage.now += 41
    assert (await one.find(SITE, stage.gives(200, b"x"))).body == b"x"
    assert (await other.find(SITE, stage.gives(503))).not_now == 0, "it is there again"


async def test_an_older_copy_counts_for_a_week(stage: Stage) -> None:
    one = stage.worker()
    await one.find(SITE, stage.gives(body=b"old"))
    stage.now += 86_401
    file = await one.find(SITE, stage.gives(500))
    assert (file.body, file.tries) == (b"old", 1)
    assert file.counts(stage.now, one.max_age) == file.not_now - stage.now, "and is asked for again, soon"
    stage.now += STALE
    assert (await one.find(SITE, stage.gives(500))).body is None


async def test_no_answer_is_told_to_those_who_wait(stage: Stage) -> None:
    one, error = stage.worker(), TimeoutError("nobody there")
    file = await one.find(SITE, stage.raises(error))
    assert (file.body, file.error, file.why) == (None, error, "TimeoutError: nobody there")
    again = await stage.worker().find(SITE, stage.gives())
    assert (again.body, again.error, again.why) == (None, None, file.why), "others only wait"
    with pytest.raises(Postponed):
        await one.find("http://b.test", stage.raises(Postponed("not its turn")))
    assert (await one.find("http://b.test", stage.gives(body=b"x"))).body == b"x", "that was not the site's fault"


@pytest.mark.parametrize(
    "error", [ValueError("invalid hostname: joe:pw@x"), BadGzipFile("Not gzipped"), Unreadable("http://joe:pw@x")]
)
async def test_what_makes_no_sense_allows_everything(
    stage: Stage, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    file = await stage.worker().find(SITE, stage.raises(error))
    assert (file.body, file.error, file.not_now) == (b"", None, 0.0)
    assert (await stage.worker().find(SITE, stage.gives(body=b"x"))).body == b"", "once a day, for all"
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "allows everything" in said
    assert "joe" not in said


@pytest.mark.parametrize("error", [OSError(113, "No route to host"), ConnectionResetError(), ResponseFailed([])])
async def test_nobody_answers(stage: Stage, error: Exception) -> None:
    assert (await stage.worker().find(SITE, stage.raises(error))).error is error


async def test_only_so_much_is_read(stage: Stage) -> None:
    line = b"Disallow: /x\n"
    body = line * (LARGEST // len(line) + 5)
    kept = shortened(body)
    assert LARGEST - len(line) < len(kept) <= LARGEST
    assert kept.endswith(line)
    assert shortened(b"x" * (LARGEST + 1)) == b"x" * LARGEST
    assert (await stage.worker().find(SITE, stage.gives(body=body))).body == kept
    assert (await stage.worker().find(SITE, stage.gives())).body == kept, "as it was stored"


async def test_what_others_wrote_is_fetched_anew(stage: Stage) -> None:
    mocra = stage.mocra()
    values = mocra.backend.shared_values(robots_namespace(mocra.crawl))
    for rubbish in (b"", b"\xff", b"[1, 2]\n", b'[1, 2, 3, "why", true]\nx', b"null\n"):
        await values.put(SITE, rubbish)
        before = stage.asked
        assert (await stage.worker().find(SITE, stage.gives(body=b"x"))).body == b"x"
        assert (await stage.worker().find(SITE, stage.gives(body=b"y"))).body == b"x"
        assert stage.asked == before + 1


async def test_without_the_backend_each_fetches_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    one = stage.worker()

    async def away(*args: Any, **kwargs: Any) -> Any:
        raise BackendUnavailable("away")

    monkeypatch.setattr(one, "_values", SimpleNamespace(get=away, put=away))
    assert (await one.find(SITE, stage.gives(body=b"x"))).body == b"x"
    assert one._stats.get_value("mocra/robots/unshared") == 1


async def test_the_backend_goes_away_while_the_lock_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stage.worker()
    values, answers = one._values, [1]

    async def get(name: str) -> Any:
        if not answers:
            raise BackendUnavailable("away")
        answers.pop()
        return await values.get(name)

    monkeypatch.setattr(one, "_values", SimpleNamespace(get=get, put=values.put))
    assert (await one.find(SITE, stage.gives(body=b"x"))).body == b"x"
    assert (await stage.worker().find(SITE, stage.gives())).body == b"x", "it is shared all the same"


# ---------------------------------------------------------------------- Crawl-delay


class Wrapped:
    """A parser of Scrapy before 2.18: only what it wraps can tell."""

    def __init__(self, delay: Any) -> None:
        self.rp = SimpleNamespace(crawl_delay=lambda agent: delay)


class Parser:
    def __init__(self, delay: Any) -> None:
        self.crawl_delay = lambda agent: delay


@pytest.mark.parametrize("kind", [Wrapped, Parser])
@pytest.mark.parametrize(
    ("delay", "least", "malformed"),
    [(2, 2.0, 0), ("1.5", 1.5, 0), (1e9, 60.0, 0), (None, None, 0), (0, None, 0), (-1, None, 1), ("x", None, 1)],
)
async def test_crawl_delay(
    stage: Stage, kind: Callable[[Any], Any], delay: Any, least: float | None, malformed: int
) -> None:
    mocra = stage.mocra()
    delays = CrawlDelays(mocra)
    await delays.hear(kind(delay), Request(f"{SITE}/x"), "a.test")
    assert (await mocra.limiter.look("a.test")).change.least == least
    assert delays._stats.get_value("mocra/throttle/crawl_delay_malformed", 0) == malformed


async def test_the_longest_crawl_delay_of_a_slot_holds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    mocra = stage.mocra()
    delays = CrawlDelays(mocra)
    monkeypatch.setattr(crawl_delays, "MOST", 2)

    async def asks(delay: float, url: str, slot: str = "a.test") -> float | None:
        await delays.hear(Parser(delay), Request(url), slot)
        return (await mocra.limiter.look(slot)).change.least

    assert await asks(2, SITE) == 2
    assert await asks(3, f"{SITE}:81") == 3
    assert await asks(1, SITE) == 3
    assert await asks(0, f"{SITE}:81") == 1, "it asks no more"
    assert await asks(0, SITE) is None
    for slot in "bcd":
        assert await asks(4, SITE, slot) == 4
    assert len(delays._asked) == 2


async def test_what_is_booked_by_a_shorter_interval_hears_of_a_longer_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run begins with the settings' interval, so the same is longer there."""
    delays, heard, run = CrawlDelays(stage.mocra()), [], 1

    class State:
        @property
        def run(self) -> int:
            return run

        def has_interval(self, slot: str, *, longer: bool) -> None:
            heard.append(longer)

    monkeypatch.setattr(delays, "_state", State())
    for delay, url in ((2, SITE), (2, SITE), (1, f"{SITE}:81"), (3, f"{SITE}:81"), (0, f"{SITE}:81")):
        await delays.hear(Parser(delay), Request(url), "a.test")
    assert heard == [True, False, False, True, False]
    run = 2
    await delays.hear(Parser(2), Request(SITE), "a.test")
    assert heard[5:] == [True]


async def test_crawl_delay_waits_for_the_backend(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    mocra = stage.mocra()
    delays = CrawlDelays(mocra)

    async def away(*args: Any) -> None:
        raise BackendUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(mocra.limiter, "change", away)
        await delays.hear(Parser(2), Request(SITE), "a.test")
    ((slot, note),) = delays._feedback._notes.items()
    await delays._feedback._tell(slot, note)
    assert (await mocra.limiter.look("a.test")).change.least == 2


def test_a_quota_that_robots_txt_uses_up_alone_is_told(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    quotas = {"a.test": "1/day", "b.test": "1/h", "*.c.test": ["1/2d", "9/h"], "d.test": "2/day"}
    throttle = {name: {"quota": quota} for name, quota in quotas.items()}
    stage.worker(MOCRA_THROTTLE=throttle)
    told = [record.getMessage() for record in caplog.records if "no page will ever be fetched" in record.getMessage()]
    assert [text.partition(":")[0] for text in told] == ["MOCRA_THROTTLE['a.test']", "MOCRA_THROTTLE['*.c.test']"]
    caplog.clear()
    stage.worker(MOCRA_THROTTLE=throttle, MOCRA_ROBOTS_MAX_AGE=7 * 86_400)
    assert not caplog.records
