"""Seeding goes on while a source may give something; what it gave is stored with its position, by the
worker that seeds and by no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import DontCloseSpider

from mocra_scrapy.exceptions import BackendUnavailable, UnserializableRequest
from mocra_scrapy.models import Seeding
from mocra_scrapy.scheduler import Scheduler
from mocra_scrapy.seeds import SeedSources
from mocra_scrapy.seeds.source import Found
from tests.integration.worker.scheduling import URLS, eventually, opened
from tests.integration.worker.test_seeding import driven, seed, seeding_of, shared, three


class Source:
    """Gives what it was told to, once it may."""

    def __init__(self, *urls: str, through: bool = True) -> None:
        self.urls, self.through = urls, through
        self.begun, self.may = asyncio.Event(), asyncio.Event()
        self.positions: list[Mapping[str, bytes]] = []
        self.answers: list[bool] = []

    async def read(self, feeder: Any, positions: Mapping[str, bytes]) -> bool:
        self.positions.append(dict(positions))
        misplaced = feeder.misplaced
        for i, url in enumerate(self.urls):
            feeder.give(Request(url, dont_filter=True), b"name %d" % i)
        feeder.place("fake", b"%d" % len(self.urls))
        await feeder.stored()
        self.begun.set()
        if feeder.misplaced != misplaced:
            return False
        await self.may.wait()
        self.answers.append(self.through)
        return self.through


async def nothing() -> AsyncIterator[Any]:
    for url in list[str]():
        yield Request(url)


async def positions(scheduler: Scheduler) -> Mapping[str, bytes]:
    found: Mapping[str, bytes] = await scheduler.mocra.queue.positions()
    return found


async def test_seeding_is_complete_when_the_sources_are_exhausted() -> None:
    async with opened() as scheduler:
        await driven(scheduler)
        source = Source("http://fed.test/1", "http://fed.test/1")
        scheduler.mocra.worker_state.sources = source
        seeding = asyncio.ensure_future(seed(scheduler))
        await asyncio.wait_for(source.begun.wait(), 30)
        await eventually(lambda: scheduler.worker.status.size.unfinished == 5)
        assert await seeding_of(scheduler) is Seeding.CLAIMED
        source.may.set()
        await seeding
        assert await seeding_of(scheduler) is Seeding.DONE
        assert await positions(scheduler) == {"fake": b"2", "start()": b"1"}
        assert source.positions == [{}]


async def test_who_takes_over_repeats_neither_start_nor_seeds() -> None:
    async with opened(**shared()) as scheduler:
        await driven(scheduler)
        queue: Any = scheduler.mocra.queue
        first = Source("http://fed.test/1")
        scheduler.mocra.worker_state.sources = first
        seeding = asyncio.ensure_future(seed(scheduler))
        await asyncio.wait_for(first.begun.wait(), 30)
        await eventually(lambda: scheduler.worker.status.size.unfinished == 4)
        # Another one takes its place, as after a death that was declared by mistake.
        queue._crawl.seeder = "other"
        second = scheduler.worker.seeder.feeder
        second.place("fake", b"stale")
        await eventually(lambda: second.misplaced)
        assert (await positions(scheduler))["fake"] == b"1", "a worker that was replaced moves nothing"
        first.through = False
        first.may.set()
        await eventually(lambda: first.answers == [False])
        assert await seeding_of(scheduler) is Seeding.CLAIMED
        # The other one dies: this one reads on, and its start() is not run again.
        first.through = True
        queue._crawl.seeding, queue._crawl.seeder = Seeding.OPEN, ""
        scheduler.worker.status.kick()
        await seeding
        assert await seeding_of(scheduler) is Seeding.DONE
        assert [found.get("fake") for found in first.positions] == [None, b"1"]
        assert (await queue.size()).unfinished == 4, "seeds are known by their places"


async def test_a_start_that_was_exhausted_before_is_not_run_again() -> None:
    async with opened() as scheduler:
        await driven(scheduler)
        assert await scheduler.mocra.queue.claim_seeding(scheduler.mocra.worker)
        scheduler.worker.seeder.feeder.place("start()", b"1")
        assert await scheduler.worker.seeder.feeder.stored()
        source = Source()
        source.may.set()
        scheduler.mocra.worker_state.sources = source
        await seed(scheduler, three)
        assert (await scheduler.mocra.queue.size()).unfinished == 0
        assert await seeding_of(scheduler) is Seeding.DONE


async def test_a_seed_that_cant_be_stored_does_not_stay_in_this_process() -> None:
    async with opened() as scheduler:
        await driven(scheduler)
        feeder = scheduler.worker.seeder.feeder
        with pytest.raises(UnserializableRequest):
            feeder.give(Request(URLS[0], callback=lambda response: None), None)
        assert len(scheduler.worker.local) == len(scheduler.worker.inbox) == 0
        feeder.give(Request(URLS[0]), None)
        assert await feeder.stored()
        assert (await scheduler.mocra.queue.size()).unfinished == 1


async def test_a_file_feeds_a_crawl_and_what_is_wrong_in_it_is_buried(tmp_path: Path) -> None:
    lines = [*(f"http://fed.test/{i}" for i in range(250)), '{"url": "http://fed.test/x", "colour": 1}', "nonsense"]
    lines += ["http://[bad/", "http://127.0.0.1:99999/", "http://fed.test/" + "x" * 100_000]
    (tmp_path / "seeds").write_text("\n".join(lines))
    settings = {"MOCRA_SEEDS": f"file:{tmp_path}/seeds", "MOCRA_SEEDS_POLL": 0.01, "MOCRA_SEEDS_IDLE": 0}
    async with opened(**settings) as scheduler:
        await driven(scheduler)
        sources = scheduler.mocra.component(SeedSources)
        await eventually(lambda: scheduler.mocra.worker_state.sources is sources)
        await seed(scheduler, nothing)
        stats = scheduler.mocra.crawler.stats
        assert stats.get_value("mocra/seeds/read") == 255
        assert stats.get_value("mocra/seeds/invalid") == 5
        assert await seeding_of(scheduler) is Seeding.DONE
        assert (await scheduler.mocra.queue.size()).unfinished == 255
        while (request := scheduler.next_request()) is not None:
            scheduler.worker.deliveries.finished(request)
        await eventually(lambda: stats.get_value("mocra/dead/seed") == 5)
        await eventually(lambda: not len(scheduler.worker.outbox))
        letters = await scheduler.mocra.queue.dead()
        assert {letter.reason for letter in letters} == {"seed"}
        assert any("unknown field `colour`" in letter.detail for letter in letters)


class Pile:
    """Two seeds, once."""

    name, is_over = "redis:fake", False

    def __init__(self) -> None:
        self.told: list[int] = []
        self.failures = 2

    async def take(self, want: int) -> tuple[list[tuple[int, bytes]], bool]:
        if self.failures:
            self.failures -= 1
            raise BackendUnavailable("away")
        got = [] if self.is_over else [(7, b"http://fed.test/7"), (8, b"http://fed.test/8")]
        self.is_over = True
        return got, False

    async def stored(self, numbers: Any) -> int:
        self.told += numbers
        return len(numbers)


class Feeder:
    """Of a crawl whose record is lost while the first seeds are on their way."""

    is_stopped = False

    def __init__(self) -> None:
        self.given: list[str] = []
        self.answers = [False, True]

    async def room(self) -> bool:
        return True

    async def pause(self, seconds: float) -> None: ...

    def give(self, request: Request, name: bytes | None) -> None:
        assert name is None
        self.given.append(request.url[-1])

    async def stored(self) -> bool:
        return self.answers.pop(0)


async def test_what_was_taken_is_given_until_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mocra_scrapy.seeds.FIRST_PAUSE", 0.0)
    async with opened(MOCRA_SEEDS="stdin") as scheduler:
        sources, pile, feeder = scheduler.mocra.component(SeedSources), Pile(), Feeder()
        await sources._take(pile, feeder)  # type: ignore[arg-type]
        assert feeder.given == ["7", "8", "7", "8"]
        assert pile.told == [7, 8], "once they are stored, not before"
        stats = scheduler.mocra.crawler.stats
        assert stats.get_value("mocra/seeds/errors") == 2


class Ordered:
    """One seed, when it was asked often enough."""

    name, is_over, is_endless, position = "stream:odd", False, False, b"1"

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def begin(self, position: bytes | None, run: int) -> None:
        if self.errors:
            raise self.errors.pop()

    async def read(self, want: int) -> list[Found]:
        if self.errors:
            raise self.errors.pop()
        found, self.is_over = [] if self.is_over else [Found(b"http://fed.test/odd", "1")], True
        return found

    async def close(self) -> None: ...


async def test_whatever_a_source_raises_it_is_asked_again_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mocra_scrapy.seeds.FIRST_PAUSE", 0.0)
    (tmp_path / "seeds").write_text("http://fed.test/1\n")
    async with opened(MOCRA_SEEDS=f"file:{tmp_path}/seeds", MOCRA_SEEDS_POLL=0.01, MOCRA_SEEDS_IDLE=0) as scheduler:
        await driven(scheduler)
        sources = scheduler.mocra.component(SeedSources)
        sources._ordered.append(Ordered(KeyError("x"), KeyError("x"), RuntimeError("y"), ValueError("z")))
        await eventually(lambda: scheduler.mocra.worker_state.sources is sources)
        await seed(scheduler, nothing)
        assert await seeding_of(scheduler) is Seeding.DONE
        assert (await scheduler.mocra.queue.size()).unfinished == 2
        assert scheduler.mocra.crawler.stats.get_value("mocra/seeds/errors") == 4
    assert caplog.text.count("RuntimeError: y") == 2, "the message and its traceback"
    assert caplog.text.count("stream:odd gives no seeds") == 3, "the same error is told once"


async def test_what_ends_the_sources_ends_the_crawl_like_an_error_of_start() -> None:
    class Broken(Source):
        async def read(self, feeder: Any, positions: Mapping[str, bytes]) -> bool:
            raise RuntimeError("nobody thought of that")

    async with opened() as scheduler:
        await driven(scheduler)
        scheduler.mocra.worker_state.sources = Broken()
        with pytest.raises(RuntimeError, match="nobody thought"):
            await seed(scheduler)
        assert scheduler.worker.status.start_failed
        assert await seeding_of(scheduler) is not Seeding.DONE


async def test_a_source_that_fails_is_not_quiet() -> None:
    """However long the pauses between two attempts are: what it has was not seen."""
    async with opened(MOCRA_SEEDS="stdin", MOCRA_SEEDS_IDLE=0) as scheduler:
        sources, may = scheduler.mocra.component(SeedSources), asyncio.Event()
        attempts = [BackendUnavailable("away")]

        async def asked() -> int:
            if attempts:
                raise attempts.pop()
            await may.wait()
            return 7

        assert sources._is_quiet("stdin")
        asking = asyncio.ensure_future(sources._insist("stdin", asked))
        await eventually(lambda: not attempts)
        await eventually(lambda: not sources._is_quiet("stdin"))
        with pytest.raises(DontCloseSpider):
            sources._on_idle()
        may.set()
        assert await asyncio.wait_for(asking, 30) == 7
        assert sources._is_quiet("stdin"), "from then on it is waited for as ever"
        sources._on_idle()


async def test_a_pile_is_taken_from_whatever_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mocra_scrapy.seeds.FIRST_PAUSE", 0.0)

    class Failing(Feeder):
        failures = 2

        async def room(self) -> bool:
            self.failures -= 1
            if self.failures >= 0:
                raise RuntimeError("nobody thought of that")
            return True

    async with opened(MOCRA_SEEDS="stdin", MOCRA_SEEDS_IDLE=0) as scheduler:
        sources, pile, feeder = scheduler.mocra.component(SeedSources), Pile(), Failing()
        await asyncio.wait_for(sources._take_on(pile, feeder), 30)  # type: ignore[arg-type]
        assert pile.told == [7, 8]
        assert sources._is_quiet(pile.name)
