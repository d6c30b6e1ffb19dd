"""Pools beside an HTTP cache: what it must not keep, and a replay, which has none."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response

from tests.unit.sessions.conftest import Stage
from tests.unit.sessions.policies import SHOP, Says, Shop
from tests.unit.sessions.test_pools import pool


@pytest.mark.parametrize(("said", "refused"), [("good", False), (None, False), ("expired", True), (False, True)])
async def test_what_says_that_a_session_is_over_is_no_page_for_a_cache(
    said: Any, refused: bool, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache asks before the check's own place; the check is asked once for each answer."""
    asked: list[Response] = []
    monkeypatch.setattr(Says, "check", lambda self, response, request: asked.append(response) or said)
    one = await stage.visitor(lambda request: Response(request.url), **{**pool("Says"), "RETRY_TIMES": 0})
    (refuses,) = one.mocra.refusals
    request = Request(SHOP)
    done: Any = one.middleware.process_request(request)
    assert done is None or await done is None
    response = Response(SHOP)
    assert refuses(request, response) == refused
    answer: Any = one.middleware.process_response(request, response)
    assert (await answer if hasattr(answer, "__await__") else answer) is response
    assert asked == [response]
    assert not refuses(request, Response(SHOP, flags=["cached"])), "what is stored was judged when it came"
    assert not refuses(Request("http://b.test/"), Response("http://b.test/")), "of no pool"


async def test_a_replay_logs_nobody_in(stage: Stage) -> None:
    """It asks no site, so that nobody could."""
    shop = Shop()
    replays = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_IGNORE_MISSING": True}
    one = await stage.visitor(shop, **pool("Logs"), **replays)
    assert (await one.get(f"{SHOP}/1", mocra_session_pool="shop.example")).status == 403, (
        "as the site says to a stranger"
    )
    assert (shop.logins, one.mocra.refusals) == (0, [])
