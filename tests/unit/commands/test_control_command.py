"""``scrapy mocra control`` and ``workers``: what they refuse, what they say."""

from __future__ import annotations

import argparse
import getpass
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.commands.verbs import control, workers
from mocra_scrapy.models import QueueOptions, WorkerReport


def say(verb: Any, *line: str) -> int:
    parser = argparse.ArgumentParser()
    verb.add_options(parser)
    return int(verb.run(parser.parse_args(line), SimpleNamespace(settings=Settings())))


async def there(backend: MemoryBackend, *names: str, crawl: str = "shop") -> None:
    await backend.request_queue(crawl, QueueOptions()).join("w0")
    for name in names:
        await backend.worker_registry().announce(WorkerReport(name, crawl, {"state": "running", "told": 1.0}), 60)


def begin(backend: MemoryBackend, *names: str, crawl: str = "shop") -> None:
    import asyncio

    asyncio.run(there(backend, *names, crawl=crawl))


@pytest.mark.parametrize(
    "line", [["pause", "shop"], ["set"], ["set", "LOG_LEVEL"], ["reset"], ["reset", "A=1"], ["show", "--worker", "w"]]
)
def test_what_makes_no_sense_is_refused(
    line: list[str], backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(backend, "w1")
    assert say(control.verb(), *line, "--crawl", "shop") == 2
    out = capsys.readouterr()
    assert out.err.startswith("Error: ")
    assert out.out == ""


def test_a_crawl_that_does_not_exist_is_an_error(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend, "w1")
    assert say(control.verb(), "pause", "--crawl", "shpo") == 1
    out = capsys.readouterr()
    assert "a crawl 'shpo' was never begun on memory://. Workers are on: shop" in out.err
    assert say(control.verb(), "pause") == 1
    assert "it is not clear which crawl is meant" in capsys.readouterr().err


def test_it_says_what_it_did(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend, "w1", "w2", "w3")
    for line, text in (
        (["pause"], "Told 3 workers of shop: start nothing new"),
        (["resume"], "Told 3 workers of shop: go on"),
        (["drain", "--worker", "w2"], "Told w2: finish what they hold, and leave"),
        (["set", "LOG_LEVEL=DEBUG"], "Told 3 workers of shop: LOG_LEVEL is 'DEBUG'"),
        (["set", "CONCURRENT_REQUESTS=4", "--worker", "w1"], "Told w1: CONCURRENT_REQUESTS is 4"),
        (["reset", "MOCRA_PREFETCH"], "MOCRA_PREFETCH was not set"),
    ):
        assert say(control.verb(), *line, "--crawl", "shop") == 0
        assert capsys.readouterr().out == text + "\n"
    assert say(control.verb(), "show", "--crawl", "shop") == 0
    shown = capsys.readouterr().out
    assert "LOG_LEVEL = 'DEBUG'" in shown
    assert "CONCURRENT_REQUESTS of w1 = 4" in shown
    assert say(control.verb(), "set", "LOG_LEVEL=LOUD", "--crawl", "shop") == 1
    assert say(control.verb(), "set", "LOG_LEVEL=INFO", "--crawl", "shop", "--worker", "w9") == 1
    assert "There are: w1, w2, w3" in capsys.readouterr().err


def test_nobody_has_to_have_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert control.who_asks().startswith("uid ")


def test_workers_of_all_crawls_are_listed(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(workers.verb()) == 0
    assert capsys.readouterr().out == "No worker is there\n"
    begin(backend, "b", crawl="two")
    begin(backend, "c", "a", crawl="one")
    assert say(workers.verb()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["worker", "crawl", "seen"]
    assert [line.split()[:2] for line in lines[1:]] == [["a", "one"], ["c", "one"], ["b", "two"]]
    assert " s ago" in lines[1]
    assert say(workers.verb(), "--crawl", "two", "--json") == 0
    assert capsys.readouterr().out == '{"worker": "b", "crawl": "two", "state": "running", "told": 1.0}\n'
