"""``scrapy mocra sessions``."""

from __future__ import annotations

import argparse
import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.commands.verbs import sessions
from mocra_scrapy.models.coordination import pools_namespace, sessions_namespace
from mocra_scrapy.models.sessions import DATA, HEADER
from mocra_scrapy.sessions.cookie_merge import Value, field, pack
from mocra_scrapy.sessions.pool_state import OVER, READY, Entry, PoolState
from mocra_scrapy.sessions.sealing import Seal

CRAWL, LATER = "shop", 4e9


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MemoryBackend:
    one = MemoryBackend("memory://sessions-command")
    monkeypatch.setattr(MemoryBackend, "shared", True)
    stamp = (int(LATER * 1e6), "w")
    state = {
        ("a.test", "/", "sid"): Value(stamp, "s3cret", LATER),
        field(f"{DATA}token"): Value(stamp, "s3cret"),
        field(f"{HEADER}X-Token"): Value(stamp, "s3cret"),
        field("proxy"): Value(stamp, "proxy-7"),
    }
    pool = PoolState(sessions={"a.test/1": Entry(READY, uses=3), "a.test/2": Entry(OVER, until=LATER)})

    async def fill() -> None:
        values = one.shared_values(sessions_namespace(CRAWL))
        await values.put("a.test/1", pack(state, 0.0))
        await values.put("default@b.test", Seal([b"k" * 32]).seal("default@b.test", pack(state, 0.0)))
        await one.shared_values(pools_namespace(CRAWL)).put("a.test", pool.pack())

    asyncio.run(fill())
    return one


def say(*line: str) -> int:
    parser = argparse.ArgumentParser()
    verb = sessions.verb()
    verb.add_options(parser)
    settings = Settings({"MOCRA_BACKEND": "memory://sessions-command"})
    return int(verb.run(parser.parse_intermixed_args(line), SimpleNamespace(settings=settings)))  # type: ignore[arg-type]


def rows(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert say("list", CRAWL, "--json") == 0
    return {row["session"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}


def test_nothing_that_a_session_holds_is_shown(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert say("list", CRAWL) == say("show", CRAWL, "a.test/1") == say("show", CRAWL, "a.test/1", "--json") == 0
    said = capsys.readouterr().out
    assert "s3cret" not in said
    for shown in ("good, 3 uses, errors 0", "1 cookie", "proxy proxy-7", '"name": "sid"', "MOCRA_SECRET_KEY"):
        assert shown in said
    known = rows(capsys)
    assert list(known) == ["a.test/1", "default@b.test"], "what is over is not listed"
    assert (known["a.test/1"]["data"], known["a.test/1"]["headers"]) == (["token"], ["X-Token"])
    assert [row["readable"] for row in known.values()] == [True, False]


def test_what_is_dropped_is_gone_and_of_no_pool(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert say("drop", CRAWL, "a.test/1", "nobody") == 1
    captured = capsys.readouterr()
    assert "a.test/1: dropped" in captured.out
    assert "no session 'nobody'" in captured.err
    assert list(rows(capsys)) == ["default@b.test"]
    assert say("drop", CRAWL, "--all") == 0
    assert rows(capsys) == {}
    assert say("list", CRAWL) == 0
    assert "has no sessions" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", [[], ["show", CRAWL], ["drop", CRAWL], ["drop", CRAWL, "x", "--all"], ["list", CRAWL, "--all"]]
)
def test_what_makes_no_sense(backend: MemoryBackend, line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert say(*line) == 2
    assert "scrapy mocra sessions" in capsys.readouterr().err or "--all" in line
    assert say("show", CRAWL, "nobody") == 1
