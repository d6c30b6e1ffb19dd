"""``TrapMiddleware``: links into traps are dropped as they leave the callback (``MOCRA_TRAPS``)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.exceptions import NotConfigured

from mocra_scrapy.engine.hooks import slot_of
from mocra_scrapy.politeness.skipped import SkippedRequests
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.reader import touched

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

    from mocra_scrapy.settings.traps import TrapRules

NAME = "MOCRA_TRAPS"

logger = logging.getLogger(__name__)


class TrapMiddleware:
    """Drops links that break a rule. What ``start()`` yields, redirects and retries are no links: they
    pass. A request that a callback makes on purpose passes with ``meta["mocra_traps"] = False``.

    Each is counted by its rule (``mocra/trap/filtered/<rule>``), the first of each rule is logged,
    and ``scrapy mocra skipped`` shows examples.
    """

    def __init__(self, crawler: Crawler, rules: TrapRules) -> None:
        assert crawler.stats is not None
        self._stats, self._rules = crawler.stats, rules
        self._skipped = Mocra.from_crawler(crawler).component(SkippedRequests)
        self._told: set[str] = set()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises NotConfigured: there are no rules."""
        if not touched(crawler.settings, NAME):
            raise NotConfigured
        from mocra_scrapy.settings.traps import read_traps

        rules = read_traps(crawler.settings)
        if rules is None:
            raise NotConfigured
        return cls(crawler, rules)

    def _passes(self, output: Any) -> bool:
        if not isinstance(output, Request) or output.meta.get("mocra_traps") is False:
            return True
        rule = self._rules.broken_by(output.url)
        if not rule:
            return True
        self._stats.inc_value("mocra/trap/filtered")
        self._stats.inc_value(f"mocra/trap/filtered/{rule}")
        self._skipped.note("trap", slot_of(output), output.url)
        if rule not in self._told:
            self._told.add(rule)
            logger.info(
                "%s: not followed, it looks like a trap: %s[%r] is %d. No more such links will be logged (stats are"
                " collected as mocra/trap/filtered/%s)",
                output,
                NAME,
                rule,
                getattr(self._rules, rule),
                rule,
            )
        return False

    def process_spider_output(self, response: Response, result: Iterable[Any]) -> Iterable[Any]:
        return (output for output in result if self._passes(output))

    async def process_spider_output_async(self, response: Response, result: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for output in result:
            if self._passes(output):
                yield output
