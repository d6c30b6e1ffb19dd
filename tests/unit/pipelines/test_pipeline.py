"""``BatchPipeline`` in Scrapy's hands, and the replay of what it spilled."""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.utils.test import get_crawler

from mocra_scrapy import signals
from mocra_scrapy.commands.verbs import spill
from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, SinkUnavailable
from mocra_scrapy.pipelines.appending import AppendedFile
from mocra_scrapy.pipelines.batch import BatchPipeline, open_sink
from mocra_scrapy.pipelines.sink import Sink
from mocra_scrapy.pipelines.spill import spill_files
from tests.unit.pipelines.stage import FakeSink, on_a_jumping_clock

AWAY = SinkUnavailable("fake: connection refused")


class FakePipeline(BatchPipeline):
    kind = "fake"
    made: ClassVar[FakeSink]

    @classmethod
    def make_sink(cls, settings: Any, place: Any) -> Sink:
        return cls.made


class OtherPipeline(FakePipeline):
    """Of the same kind."""


@pytest.fixture
def fake() -> FakeSink:
    FakePipeline.made = FakeSink()
    return FakePipeline.made


def crawler_of(folder: Path, **settings: Any) -> Crawler:
    given = {"MOCRA_SPILL_DIR": str(folder / "spill"), "ITEM_PIPELINES": {FakePipeline: 1}, **settings}
    crawler = get_crawler(Spider, given)
    crawler._apply_settings()
    crawler.spider = Spider("fake")
    return crawler


async def begin(crawler: Crawler) -> FakePipeline:
    pipeline = FakePipeline.from_crawler(crawler)
    await pipeline.open_spider()
    return pipeline


def stats_of(crawler: Crawler) -> dict[str, Any]:
    assert crawler.stats is not None
    return {name: value for name, value in crawler.stats.get_stats().items() if name.startswith("mocra/sink")}


async def test_an_item_leaves_it_when_it_is_stored(tmp_path: Path, fake: FakeSink) -> None:
    crawler = crawler_of(tmp_path)
    pipeline = await begin(crawler)
    items = [{"n": n} for n in range(10)]
    assert await asyncio.gather(*map(pipeline.process_item, items)) == items
    assert fake.stored == list(range(10))
    await pipeline.close_spider()
    assert fake.closed == 1
    assert stats_of(crawler) == {"mocra/sink/stored": 10, "mocra/sink/batches": 1, "mocra/sink/bytes": 70}
    assert not (tmp_path / "spill").exists()


async def test_a_poisoned_item_is_its_own_failure_and_nobody_elses(tmp_path: Path, fake: FakeSink) -> None:
    crawler = crawler_of(tmp_path)
    pipeline = await begin(crawler)
    fake.poison = {3}
    items: list[Any] = [*({"n": n} for n in range(6)), {"n": float("nan")}, "no item"]
    outcomes = await asyncio.gather(*map(pipeline.process_item, items), return_exceptions=True)
    assert [at for at, outcome in enumerate(outcomes) if isinstance(outcome, ItemRefused)] == [3, 6, 7]
    assert outcomes[:3] == items[:3]
    assert stats_of(crawler)["mocra/sink/refused"] == 3
    await pipeline.close_spider()


def test_it_tells_of_an_outage_once(tmp_path: Path, fake: FakeSink, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        crawler = crawler_of(tmp_path)
        heard: list[tuple[str, dict[str, Any]]] = []

        def hears(name: str) -> Any:
            def hear(**arguments: Any) -> None:
                heard.append((name, arguments))

            kept.append(hear)
            return hear

        kept: list[Any] = []
        for name in ("sink_unavailable", "sink_available"):
            crawler.signals.connect(hears(name), getattr(signals, name))
        pipeline = await begin(crawler)
        fake.away = AWAY
        task = asyncio.ensure_future(pipeline.process_item({"n": 1}))
        await asyncio.sleep(100)
        fake.away = None
        await task
        assert [name for name, _ in heard] == ["sink_unavailable", "sink_available"]
        assert (heard[0][1]["sink"], heard[0][1]["error"]) == ("fake", AWAY)
        assert heard[1][1]["seconds"] >= 100
        assert stats_of(crawler)["mocra/sink/outages"] == 1
        await pipeline.close_spider()

    with caplog.at_level(logging.INFO):
        on_a_jumping_clock(work())
    assert caplog.text.count("Items can't be stored, and pages wait until they are: fake: connection refused") == 1
    assert caplog.text.count("fake takes items again after") == 1


async def spilled(folder: Path, fake: FakeSink, count: int = 3) -> Path:
    """The file of a worker that closed while its sink was away."""
    crawler = crawler_of(folder, MOCRA_BATCH_CLOSE=0.1)
    told: list[dict[str, Any]] = []

    def hear(**arguments: Any) -> None:
        told.append(arguments)

    crawler.signals.connect(hear, signals.items_spilled)
    pipeline = await begin(crawler)
    fake.away = AWAY
    tasks = [asyncio.ensure_future(pipeline.process_item({"n": n})) for n in range(count)]
    await asyncio.sleep(0)
    await pipeline.close_spider()
    assert await asyncio.gather(*tasks) == [{"n": n} for n in range(count)], "kept, so done"
    (file,) = spill_files(folder / "spill")
    assert [(one["path"], one["items"]) for one in told] == [(str(file), count)]
    fake.away = None
    return file


def command(folder: Path, *words: str, **settings: Any) -> int:
    parser = argparse.ArgumentParser()
    verb = spill.verb()
    verb.add_options(parser)
    given = crawler_of(folder, **settings).settings.copy()
    return verb.run(parser.parse_args(words), SimpleNamespace(settings=given))  # type: ignore[arg-type]


async def in_thread(folder: Path, *words: str, **settings: Any) -> int:
    """The command has a loop of its own."""
    return await asyncio.to_thread(command, folder, *words, **settings)


async def test_what_was_spilled_is_stored_by_a_replay(
    tmp_path: Path, fake: FakeSink, capsys: pytest.CaptureFixture[str]
) -> None:
    file = await spilled(tmp_path, fake)
    assert await in_thread(tmp_path) == 0
    assert capsys.readouterr().out == f"{file}  3 items of crawl 'spider' for fake, pipeline fake\n"
    assert await in_thread(tmp_path, "replay", MOCRA_BATCH_ITEMS=2) == 0
    assert (fake.stored, fake.writes[-2:]) == ([0, 1, 2], [[0, 1], [2]])
    assert not file.exists()
    assert capsys.readouterr().out == f"{file}: 3 items stored\n"
    assert await in_thread(tmp_path, "replay") == 0
    assert "Nothing was spilled" in capsys.readouterr().out


async def test_what_the_sink_refuses_stays_in_the_file(
    tmp_path: Path, fake: FakeSink, capsys: pytest.CaptureFixture[str]
) -> None:
    file = await spilled(tmp_path, fake, 10)
    with file.open("ab") as more:
        more.write(b"somebody's note\n" + b'{"origin":{},"item":{"n": 7')
    fake.poison = {4, 6}
    assert await in_thread(tmp_path, "replay") == 1
    assert sorted(fake.stored) == [0, 1, 2, 3, 5, 7, 8, 9]
    told = capsys.readouterr()
    assert "8 items stored" in told.out
    assert "2 items refused, still in the file:\n  poison 4\n  poison 6\n" in told.err
    assert "1 line can't be read, still in the file" in told.err
    fake.poison = set()
    assert await in_thread(tmp_path, "replay", str(file)) == 1, "the note is still there"
    assert sorted(fake.stored) == list(range(10))
    assert file.read_bytes().splitlines()[1:] == [b"somebody's note"]


async def test_a_replay_that_cannot_be_leaves_the_file(
    tmp_path: Path, fake: FakeSink, capsys: pytest.CaptureFixture[str]
) -> None:
    file = await spilled(tmp_path, fake)
    before = file.read_bytes()
    fake.away = AWAY
    assert await in_thread(tmp_path, "replay") == 1
    assert "connection refused" in capsys.readouterr().err
    for pipelines in ({}, {OtherPipeline: 2}):
        assert await in_thread(tmp_path, "replay", ITEM_PIPELINES=pipelines) == 1
        assert f"ITEM_PIPELINES: none of its pipelines is {__name__}.FakePipeline" in capsys.readouterr().err
    assert await in_thread(tmp_path, "replay", str(tmp_path / "nothing")) == 1
    assert "No such file" in capsys.readouterr().err
    assert file.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 5, 60])
async def test_a_file_of_which_no_line_is_whole_goes(
    tmp_path: Path, fake: FakeSink, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = await spilled(tmp_path, fake)
    file.write_bytes(file.read_bytes()[:kept])
    assert await in_thread(tmp_path) == 0
    assert capsys.readouterr().out == f"{file}  nothing whole; replay deletes it\n"
    assert await in_thread(tmp_path, "replay") == 0
    assert capsys.readouterr().out == f"{file}: 0 items stored\n"
    assert not file.exists()
    file.write_bytes(b"somebody's")
    assert await in_thread(tmp_path, "replay") == 1
    assert file.read_bytes() == b"somebody's"


async def test_two_pipelines_of_one_kind_have_a_file_each(
    tmp_path: Path, fake: FakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FakeSink()
    monkeypatch.setattr(OtherPipeline, "made", other, raising=False)
    crawler = crawler_of(tmp_path, MOCRA_BATCH_CLOSE=0.1)
    both = [FakePipeline.from_crawler(crawler), OtherPipeline.from_crawler(crawler)]
    tasks = []
    for pipeline, sink in zip(both, (fake, other), strict=True):
        await pipeline.open_spider()
        sink.away = AWAY
        tasks.append(asyncio.ensure_future(pipeline.process_item({"n": 1})))
    await asyncio.sleep(0)
    await asyncio.gather(*(pipeline.close_spider() for pipeline in both))
    assert await asyncio.gather(*tasks) == [{"n": 1}] * 2
    assert len(spill_files(tmp_path / "spill")) == 2
    fake.away = other.away = None
    assert await in_thread(tmp_path, "replay", ITEM_PIPELINES={FakePipeline: 1, OtherPipeline: 2}) == 0
    assert (fake.stored, other.stored) == ([1], [1])


async def test_a_file_that_is_still_written_is_left_alone(
    tmp_path: Path, fake: FakeSink, capsys: pytest.CaptureFixture[str]
) -> None:
    file = await spilled(tmp_path, fake)
    held = AppendedFile(file)
    assert await in_thread(tmp_path) == 0
    assert "(its worker still closes)" in capsys.readouterr().out
    assert await in_thread(tmp_path, "replay") == 1
    assert "left alone" in capsys.readouterr().err
    held.close()


# ------------------------------------------------------------------ the start


def test_a_sink_is_waited_for_at_the_start(fake: FakeSink) -> None:
    async def work() -> None:
        fake.open_fails = 5
        await open_sink(fake, 15.0)
        fake.open_fails = 1000
        with pytest.raises(SinkUnavailable, match="fake did not answer within MOCRA_START_TIMEOUT = 15 s"):
            await open_sink(fake, 15.0)
        assert asyncio.get_running_loop().time() < 20

    on_a_jumping_clock(work())


@pytest.mark.parametrize("hangs", [False, True])
def test_nobody_waits_for_a_sink_who_was_told_to_leave(tmp_path: Path, fake: FakeSink, hangs: bool) -> None:
    async def work() -> None:
        async def never() -> None:
            await loop.create_future()

        loop, fake.open_fails = asyncio.get_running_loop(), 1000
        if hangs:
            fake.open = never  # type: ignore[method-assign]
        crawler = crawler_of(tmp_path, MOCRA_START_TIMEOUT=3600)
        crawler.crawling = True
        loop.call_later(10, setattr, crawler, "crawling", False)
        pipeline = await begin(crawler)
        assert 10 <= loop.time() < 12
        await pipeline.close_spider()
        assert not fake.closed, "it was never open"

    on_a_jumping_clock(work())


def test_a_wrong_setting_is_told_at_once(fake: FakeSink) -> None:
    async def work() -> None:
        async def never() -> None:
            raise ConfigurationError("X", "no such table", "Make it")

        fake.open = never  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError, match="no such table"):
            await open_sink(fake, 15.0)
        assert asyncio.get_running_loop().time() == 0

    on_a_jumping_clock(work())


async def test_a_command_for_one_page_opens_nothing_before_there_is_an_item(
    tmp_path: Path, fake: FakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mocra_scrapy.pipelines.batch.one_off_command", lambda: "shell")
    opened: list[int] = []

    async def opens() -> None:
        opened.append(1)

    fake.open = opens  # type: ignore[method-assign]
    pipeline = await begin(crawler_of(tmp_path))
    assert opened == []
    await asyncio.gather(*(pipeline.process_item({"n": n}) for n in range(3)))
    assert opened == [1]
    await pipeline.close_spider()
    await (await begin(crawler_of(tmp_path))).close_spider()


async def test_close_spider_never_raises(tmp_path: Path, fake: FakeSink, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = await begin(crawler_of(tmp_path))

    async def fails() -> None:
        raise RuntimeError("no end")

    fake.close = fails  # type: ignore[method-assign]
    await pipeline.close_spider()
    assert "fake did not close properly: no end" in caplog.text
