"""What Redis refuses, and whom it concerns: the item, or all of them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, SinkUnavailable
from mocra_scrapy.pipelines.batch import Place
from mocra_scrapy.pipelines.items import stored_item
from mocra_scrapy.pipelines.redis import RedisPipeline, RedisSink
from mocra_scrapy.pipelines.sink import StoredItem
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.redis


def sink(url: str, **settings: Any) -> RedisSink:
    given = {f"MOCRA_REDIS_ITEMS_{name.upper()}": value for name, value in settings.items()}
    given |= {"MOCRA_REDIS_ITEMS_URL": url}
    return RedisPipeline.make_sink(Settings(given), Place("books", "shop:books", "w", ""))


def items(*numbers: int, **more: Any) -> list[StoredItem]:
    return [stored_item({"url": f"u{n}", "n": n, **more}, {}) for n in numbers]


async def test_an_item_without_its_id_is_named(redis_url: str) -> None:
    it = sink(redis_url, kind="hash", id=["url", "shop"])
    await it.open()
    batch = [*items(1, shop="a"), *items(2), *items(3, shop="a"), *items(4, shop=None)]
    with pytest.raises(ItemRefused) as raised:
        await it.write(batch)
    assert list(raised.value.which or ()) == [1, 3]
    assert "field 'shop' of MOCRA_REDIS_ITEMS_ID is missing or None" in raised.value.reason
    await it.close()


async def test_values_of_an_id_that_look_alike_are_told_apart(redis_url: str) -> None:
    it = sink(redis_url, kind="hash", key="alike", id=["id"])
    await it.open()
    values = [1, "1", "[1]", True, "true", "True", "[true]", 1.5, "1.5", [1], '["[1]"]', ["[1]"]]
    await it.write([stored_item({"id": value}, {}) for value in values])
    await it.write([stored_item({"id": value}, {}) for value in values])
    assert await it._client.raw.hlen("alike") == len(values)
    assert await it._client.raw.hget("alike", "[1]") == b'{"id":1}'
    await it.close()


async def test_what_is_too_large_for_the_server_is_refused_before_it_hangs_up(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--proto-max-bulk-len", "1mb")
    server.start()
    it = sink(server.url)
    await it.open()
    with pytest.raises(ItemRefused, match="more than the server takes") as raised:
        await it.write([*items(1), *items(2, title="x" * 2_000_000)])
    assert list(raised.value.which or ()) == [1]
    await it.write(items(1))
    await it.close()
    server.kill()


async def test_what_concerns_all_items_is_no_refusal(own_redis: RedisServer) -> None:
    it = sink(own_redis.url)
    await it.open()
    with own_redis.client() as client:
        client.config_set("maxmemory", "100kb")
        with pytest.raises(SinkUnavailable, match="its memory is full"):
            await it.write(items(1))
        client.config_set("maxmemory", "0")
        client.set("shop:books:items", "somebody's")
        with pytest.raises(ConfigurationError, match="MOCRA_REDIS_ITEMS_KEY: somebody made 'shop:books:items'"):
            await it.write(items(1))
        client.delete("shop:books:items")
        client.execute_command("ACL", "SETUSER", "default", "on", "nopass", "~*", "+@all", "-xadd")
        with pytest.raises(ConfigurationError, match=r"Grant the user: ~shop:books:items \+@stream"):
            await it.write(items(1))
        client.execute_command("ACL", "SETUSER", "default", "+@all")
        await it.write(items(1))
        assert client.xlen("shop:books:items") == 1
        client.config_set("requirepass", "secret")
    await it.close()
    with pytest.raises(ConfigurationError, match=r"MOCRA_REDIS_ITEMS_URL.*asks for a password"):
        await it.open()
    await it.close()
    wrong = sink(own_redis.url.replace("//", "//:geheim@"))
    with pytest.raises(ConfigurationError, match=r"MOCRA_REDIS_ITEMS_URL.*refuses the user name or password") as raised:
        await wrong.open()
    assert "geheim" not in str(raised.value)
    await wrong.close()


async def test_what_is_told_to_be_granted_is_enough(own_redis: RedisServer) -> None:
    for kind in ("stream", "list", "hash"):
        with own_redis.client() as client:
            client.flushall()
            script = () if kind == "hash" else ("+eval",)
            rights = ("~shop:books:items", f"+@{kind}", "+@connection", *script, "+type")
            client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pass", *rights)
        more = {"id": ["url"]} if kind == "hash" else {"maxlen": 10}
        it = sink(own_redis.url.replace("//", "//app:pass@"), kind=kind, **more)
        await it.open()
        await it.write(items(*range(20)))
        await it.close()


async def test_streams_and_lists_are_bounded(redis_url: str) -> None:
    for kind, about in (("stream", 200), ("list", 50)):
        it = sink(redis_url, kind=kind, key=kind, maxlen=50)
        await it.open()
        for n in range(0, 1000, 100):
            await it.write(items(*range(n, n + 100)))
        count = it._client.raw.xlen if kind == "stream" else it._client.raw.llen
        assert 50 <= await count(kind) <= about
        await it.close()


@pytest.mark.parametrize("kind", ["stream", "list", "hash"])
@pytest.mark.parametrize("bound", [{}, {"maxlen": 120}], ids=["all", "some"])
async def test_a_cluster_will_do(redis_cluster: str, kind: str, bound: dict[str, int]) -> None:
    """And the loop waits for no thread: redis-py starts one for each command of a cluster's transaction."""
    more = {"id": ["url"]} if kind == "hash" else bound
    it = sink(redis_cluster, kind=kind, key=f"{kind}{len(bound)}", **more)
    await it.open()
    started: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", started.append)
        await it.write(items(*range(150)))
    assert started == []
    count = {"stream": it._client.raw.xlen, "list": it._client.raw.llen, "hash": it._client.raw.hlen}[kind]
    assert await count(f"{kind}{len(bound)}") == (120 if kind == "list" and bound else 150)
    await it.close()
