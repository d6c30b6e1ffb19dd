"""``FeedExporter``: Scrapy's, for several workers of which any may be killed. See
:mod:`mocra_scrapy.feeds`.

The add-on puts it in place of Scrapy's where the backend outlives this process, or a feed's URI has
``%(mocra_worker)s``. A project's own exporter should be a subclass of this one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.extensions import feedexport
from scrapy.utils.misc import load_object

from mocra_scrapy.engine.refusal import told_in_one_line
from mocra_scrapy.runtime import Mocra

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)


class FeedExporter(feedexport.FeedExporter):
    """Writes an item of JSON Lines or CSV before its page is acknowledged; an item that can't be
    written leaves a dead letter, and a file that can't be written closes this worker with the
    reason ``mocra_feed_failed``.

    Raises:
        ConfigurationError: a feed can't be written by several workers.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        # Most crawls that have this exporter have no feeds, and end here.
        from mocra_scrapy.feeds.component import Feeds
        from mocra_scrapy.feeds.plans import OTHER, FeedPlan, plan_feed
        from mocra_scrapy.feeds.storage import FileFeedStorage

        self._shared = Mocra.from_crawler(crawler).component(Feeds)
        self._told = False
        for uri in list(self.feeds):
            options, chosen = self.feeds.pop(uri), self.filters.pop(uri)
            if self._shared.shared:
                with told_in_one_line(crawler):
                    plan = plan_feed(uri, options, self.storages, self.exporters)
            else:
                plan = FeedPlan(uri, uri, OTHER, overwrite=False)
            self._shared.add(plan, options)
            self.feeds[plan.template], self.filters[plan.template] = options, chosen
        for scheme, storage in self.storages.items():
            if storage is feedexport.FileFeedStorage:
                self.storages[scheme] = FileFeedStorage

    def item_scraped(self, item: Any, spider: Spider, response: Any = None) -> None:
        """Scrapy's signal; Scrapy only logs what a handler raises, and the page would be done."""
        try:
            try:
                super().item_scraped(item, spider)
            finally:
                self._shared.commit()
        except Exception as error:
            self._failed(error, item, response, spider)

    def _failed(self, error: Exception, item: Any, response: Any, spider: Spider) -> None:
        assert self.crawler.stats is not None
        self.crawler.stats.inc_value("mocra/feeds/failed")
        # By its path: Twisted is reached through Scrapy only.
        failure = load_object("twisted.python.failure.Failure")(error)
        self.crawler.signals.send_catch_log(
            signals.item_error, item=item, response=response, spider=spider, failure=failure
        )
        if not isinstance(error, OSError):
            logger.error("An item can't be exported: %s", error, exc_info=error, extra={"spider": spider})
            return
        if not self._told:
            self._told = True
            logger.error(
                "Feed %s can't be written: %s. This worker closes; pages whose items are missing have left dead letters."
                " When there is room: scrapy mocra dead replay --crawl '%s' --reason item --records only --all",
                error.filename or "",
                error.strerror or error,
                self._shared.crawl,
                extra={"spider": spider},
            )
        self._shared.give_up()
