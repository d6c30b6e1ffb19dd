"""``scrapy mocra proxies``: what it says of a pool."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.commands.verbs import proxies as command
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import IProxies
from mocra_scrapy.models import PermitWish, ProxyReport, ProxyRules, ProxyTurn

RULES = ProxyRules(failures=1)


@pytest.fixture
async def pool() -> IProxies:
    pool: IProxies = MemoryBackend().proxies("shop", RULES)
    reports = [
        ProxyReport("fine-80", "a", good=3, latency=0.5),
        ProxyReport("banned-80", "a", bad=1, kind="ban"),
        ProxyReport("dead-80", "a", bad=1, kind="proxy"),
    ]
    await pool.turn(ProxyTurn("w1", 1, 60.0, reports, [PermitWish("fine-80", 2, 4)]))
    return pool


async def do(pool: IProxies, action: str, *words: str, **options: Any) -> int:
    given = argparse.Namespace(**{"out": False, "all": False, "json": False, **options})
    return await command._do(pool, action, list(words), given, "shop")


async def test_all_or_those_that_are_out(pool: IProxies, capsys: pytest.CaptureFixture[str]) -> None:
    assert await do(pool, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "banned-80: in, 100% succeed, out for a",
        "dead-80: out for 30.0 s (proxy), 80% succeed",
        "fine-80: in, 100% succeed in 0.50 s, 2 permits at 1 worker",
    ]
    await do(pool, "list", out=True, json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["proxy"], one["state"], one["out_at"]) for one in told] == [
        ("banned-80", "in", ["a"]),
        ("dead-80", "out", []),
    ]
    await do(pool, "show", "banned-80")
    assert capsys.readouterr().out.startswith("banned-80 at a: out for 5 min 0 s (ban)")


async def test_one_is_taken_out_and_brought_back(pool: IProxies, capsys: pytest.CaptureFixture[str]) -> None:
    assert await do(pool, "drop", "fine-80", "10m") == 0
    assert await do(pool, "drop", "banned-80") == 0
    await do(pool, "list", out=True)
    said = capsys.readouterr().out
    assert "fine-80: out for 10 min 0 s (hand)" in said
    assert "banned-80: out until somebody revives it" in said
    assert await do(pool, "revive", "fine-80", "banned-80") == 0
    assert await do(pool, "revive", "fine-80") == 1
    assert await do(pool, "revive", all=True) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "dead-80: back for all sites"
    for action in ("show", "drop", "revive"):
        with pytest.raises(ConfigurationError, match="no worker has told"):
            await do(pool, action, "nobody")
    assert await do(pool, "refresh") == 0
