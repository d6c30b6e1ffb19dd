"""What a call costs the server that does not need it: each call makes its Lua libraries anew."""

from __future__ import annotations

import re

import pytest

from mocra_scrapy.backends.redis import queue as redis_queue
from mocra_scrapy.backends.redis.connection.scripts import Script
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Burial, Entry, QueueOptions, RuleSet, SlotLimit
from tests.integration.backends.redis_crawls import backend
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("nothing_stays_open")]

LIMITED = {"departures", "limited", "origins", "permits", "throttle"}


@pytest.mark.parametrize(
    ("rules", "made"),
    [
        (None, {"unlimited"}),
        (RuleSet(SlotLimit(interval=1e-6, burst=1000, concurrency=8)), LIMITED),
    ],
    ids=["without limits", "with limits"],
)
async def test_a_turn_makes_the_libraries_that_it_needs(
    redis_url: str,
    redis_single: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    rules: RuleSet | None,
    made: set[str],
) -> None:
    text = redis_queue.EXCHANGE.text
    told = re.sub(
        r"^local (\w+) = lazy\.library\(function\(\)\n",
        r"\g<0>redis.call('SADD', 'made', '\1')\n",
        text,
        flags=re.MULTILINE,
    )
    monkeypatch.setattr(redis_queue, "EXCHANGE", Script("exchange", told))
    async with backend(redis_url) as on:
        queue = on.request_queue("c", QueueOptions(lease=60, rules=rules))
        await queue.join("w")
        worker = QueueSession(queue, "w")
        with redis_single.client() as client:
            await worker.push([Entry(b"body", f"s{n % 2}") for n in range(8)])
            leases = await worker.lease(3)
            await worker.ack(leases[:2])
            assert {name.decode() for name in client.smembers("made")} == made
            await worker.bury([Burial(leases[2], "failed", "why")])
            assert client.sismember("made", "dead_letters")
        await queue.close()
