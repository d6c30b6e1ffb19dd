"""``DeduplicatePipeline``: of the items with the same key one goes on, whichever worker scraped it.

The key belongs to the *page* that had it first: to one stored entry of the queue. That is what makes it
safe: an entry whose worker died is handed out again, has its key still, and its item goes on once more, into
a sink that may not have it yet. Were it the item's alone, a crash between this pipeline and the sink would
lose it. Another entry of the same request, in this run or in a later one, is another page.

::

    item -> not said of this page before? -> whose is the key? -> nobody's: this page's now   goes on
                                                                 | this page's                goes on
                                                                 ' another page's             dropped
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from scrapy.exceptions import DropItem

from mocra_scrapy.exceptions import SinkUnavailable
from mocra_scrapy.models.wording import counted
from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.items import as_json, fields_of
from mocra_scrapy.pipelines.redis import redis_client, redis_errors
from mocra_scrapy.pipelines.sink import Sink, StoredItem
from mocra_scrapy.runtime import ATTRIBUTE
from mocra_scrapy.settings.pipelines import UniqueOptions, read_unique
from mocra_scrapy.worker.deliveries import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

    from mocra_scrapy.backends.redis.connection.client import RedisClient
    from mocra_scrapy.worker.deliveries import Delivery

logger = logging.getLogger(__name__)

#: Bytes of a key's and of a page's digest. 80 bits: of a hundred million keys no two are alike, but with
#: a chance of one in 240 million.
KEY_BYTES, PAGE_BYTES = 10, 8
#: Items after which, if all of them were without their key, the log says so; or at the end, if there were fewer.
NOTICED = 100
#: Hashes over which keys are spread, so that each is small: Redis stores those in a quarter of the room.
BUCKETS = 16_384


@dataclass(frozen=True, slots=True)
class Claim(StoredItem):
    """A key that a page has, in :attr:`text`. *page*: a digest of it, empty: of no page. *holder* gets
    the page whose key it is.
    """

    page: bytes = b""
    holder: list[bytes] = field(default_factory=list)


class DeduplicatePipeline(BatchPipeline):
    """See the module, and ``docs/guides/store-items``. Place it before the pipelines that store."""

    kind = "unique"
    opened = "Items are told apart by %s"

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._spill = None
        self._unique = read_unique(crawler.settings)
        mocra = getattr(crawler, ATTRIBUTE, None)
        self._state = None if mocra is None else mocra.worker_state
        if self._state is not None:
            self._state.names_entries = True
        self._without, self._keyed = 0, False
        self._said: WeakKeyDictionary[Request, set[bytes]] = WeakKeyDictionary()

    @classmethod
    def make_sink(cls, settings: BaseSettings, place: Place) -> Sink:
        read_unique(settings)
        return KeysInProcess()

    def sink_for(self, crawler: Crawler, place: Place) -> Sink:
        mocra = getattr(crawler, ATTRIBUTE, None)
        options = read_unique(crawler.settings)
        if mocra is None or not mocra.backend.shared or mocra.one_off:
            return KeysInProcess()
        client = redis_client(mocra.options.backends.server, mocra.options.redis_options, mocra.options.key_prefix)
        return KeysInRedis(client, mocra.options.key_prefix, place.crawl, options, lambda: mocra.worker_state.run)

    async def process_item(self, item: Any) -> Any:
        """Returns *item*.

        Raises:
            DropItem: an item with its key was scraped from another page, or from this one before.
            ItemRefused: it is none, or a value of its key has no form in JSON.
        """
        fields = fields_of(item)
        values = {name: fields.get(name) for name in self._unique.fields}
        if any(value is None for value in values.values()):
            self._stats.inc_value("mocra/unique/without_key")
            self._without += 1
            if self._without == NOTICED:
                self._tell_if_useless()
            return item
        self._keyed = True
        key = blake2b(as_json(values), digest_size=KEY_BYTES).digest()
        page = self._page(key)
        if page is None:
            self._dropped()
        claim = Claim({}, key, {}, page or b"")
        if self._batcher is None:
            await self._open()
            assert self._batcher is not None
        try:
            await self._batcher.store(claim)
        except SinkUnavailable:  # the worker closes, and nobody can tell: twice is better than not at all
            self._stats.inc_value("mocra/unique/unasked")
            return item
        if claim.holder[0] != page:
            self._dropped()
        return item

    def _page(self, key: bytes) -> bytes | None:
        """Of which page the item is; ``None``: that one had *key* already."""
        delivery = CURRENT.get()
        request = None if delivery is None else delivery.request
        fingerprinter = self.crawler.request_fingerprinter
        if delivery is None or request is None or fingerprinter is None:
            return b""
        said = self._said.setdefault(request, set())
        if key in said:
            return None
        said.add(key)
        return self._owner(delivery, fingerprinter.fingerprint)

    def _owner(self, delivery: Delivery, fingerprint: Callable[[Request], bytes]) -> bytes:
        """The same whenever this entry is handed out. What has no name, as an entry that a worker without this
        pipeline stored, is known by its run and fingerprint; what is not stored by its parent, which makes it again.
        """
        way, name = [], b""
        current: Delivery | None = delivery
        while current is not None:
            if current.request is not None:
                way.append(fingerprint(current.request))
            name = current.entry
            current = None if name else current.parent
        origin = name or b"run %d" % (0 if self._state is None else self._state.run)
        return blake2b(b" ".join([origin, *way]), digest_size=PAGE_BYTES).digest()

    async def close_spider(self) -> None:
        if self._without < NOTICED:
            self._tell_if_useless()
        await super().close_spider()

    def _tell_if_useless(self) -> None:
        if self._without and not self._keyed:
            logger.warning(
                "No item is told apart so far: each of %s lacks a field of MOCRA_UNIQUE_ITEMS = %s, and goes on. Name"
                " fields that items have",
                counted(self._without, "item"),
                list(self._unique.fields),
            )

    def _dropped(self) -> None:
        self._stats.inc_value("mocra/unique/dropped")
        raise DropItem(f"An item with the same {', '.join(self._unique.fields)} was scraped before", log_level="DEBUG")

    def stored(self, items: int, size: int) -> None:
        """Keys are no items."""

    def lost(self, items: int, why: str) -> None:
        """Nor are they lost: their items go on."""


class KeysInProcess:
    """Of one crawler: on ``memory://``, and without the add-on."""

    name = "keys in this process"

    def __init__(self) -> None:
        self._pages: dict[bytes, bytes] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def write(self, batch: Sequence[StoredItem]) -> None:
        for claim in batch:
            assert isinstance(claim, Claim)
            claim.holder[:] = [self._pages.setdefault(claim.text, claim.page)]

    async def close(self) -> None:
        """Nothing to do."""


class KeysInRedis:
    """Of one crawl, on the server of its queue. They begin as the crawl's other keys do, so they are
    deleted with it.
    """

    def __init__(
        self, client: RedisClient, prefix: str, crawl: str, options: UniqueOptions, run: Callable[[], int]
    ) -> None:
        from mocra_scrapy.backends.redis.shards import quote_name

        self._client, self._options, self._run, self._prefix = client, options, run, prefix
        self._head = f"{prefix}:{{{quote_name(crawl, ':')}:0}}:unique:"
        self.name = f"keys in {client.target.redacted}"

    async def open(self) -> None:
        async with redis_errors(self._client, self._prefix, "MOCRA_BACKEND"):
            await self._client.raw.ping()

    async def write(self, batch: Sequence[StoredItem]) -> None:
        head = self._head + (f"{self._run()}:" if self._options.over == "run" else "")
        async with redis_errors(self._client, self._prefix, "MOCRA_BACKEND"):
            async with self._client.raw.pipeline(transaction=False) as pipe:
                keys = [f"{head}{int.from_bytes(claim.text[:4], 'big') % BUCKETS:x}" for claim in batch]
                for key, claim in zip(keys, batch, strict=True):
                    assert isinstance(claim, Claim)
                    pipe.hsetnx(key, claim.text, claim.page)
                    pipe.hget(key, claim.text)
                for key in set(keys):
                    pipe.expire(key, int(self._options.ttl))
                answers = await pipe.execute()
            for claim, holder in zip(batch, answers[1 : 2 * len(batch) : 2], strict=True):
                assert isinstance(claim, Claim)
                claim.holder[:] = [holder or b""]

    async def close(self) -> None:
        await self._client.close()
