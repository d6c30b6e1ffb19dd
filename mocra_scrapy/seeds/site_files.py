"""Files of sites that say what there is to crawl, fetched as Scrapy fetches everything: middlewares,
proxies, robots.txt and the limits of slots hold.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.exceptions import IgnoreRequest, NotSupported
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.httpobj import urlparse_cached

from mocra_scrapy.models.redaction import redact, redact_error
from mocra_scrapy.politeness.robots import Answer, SharedRobots, origin_of
from mocra_scrapy.seeds.sitemaps import MOST_BYTES, is_web

if TYPE_CHECKING:
    from scrapy.http import Response

    from mocra_scrapy.runtime import Mocra

logger = logging.getLogger(__name__)

#: Seconds before each further attempt at a file that a site can't give now.
PAUSES = (2.0, 8.0, 30.0)
#: Seconds for which a robots.txt is waited for that its site can't give now.
PATIENCE = 60.0


#: What Scrapy raises for a file of more than 50 MB.
TOO_LARGE = "DownloadCancelledError"


class SiteFiles:
    """Of one worker."""

    def __init__(self, mocra: Mocra) -> None:
        self._mocra, self._crawler = mocra, mocra.crawler

    async def fetch(self, url: str, is_guess: bool = False) -> bytes | None:
        """The file *url*, up to the 50 MB of a sitemap; ``None``: the site does not give it, which is told unless
        *is_guess*, and it only is not there.

        A redirect leads to http and https only: Scrapy follows no other.
        """
        if not is_web(url):
            logger.warning("%s can't be had: %s", redact(url), "it is no http(s) address")
            return None
        for attempt in range(len(PAUSES) + 1):
            is_over = attempt == len(PAUSES)
            try:
                response = await self._download(
                    Request(url, callback=NO_CALLBACK, meta={"download_maxsize": MOST_BYTES})
                )
            except IgnoreRequest as error:  # robots.txt forbids it, or it is too large
                logger.debug("%s: %s", url, error)
                return None
            except Exception as error:
                why = redact_error(f"{type(error).__name__}: {error}")
                # The address is none, or the file too large: that does not pass.
                is_over |= isinstance(error, (ValueError, OverflowError, NotSupported))
                is_over |= type(error).__name__ == TOO_LARGE
            else:
                if response.status == 200:
                    return response.body
                why = f"status {response.status}"
                is_over |= response.status < 500 and response.status not in (408, 429)
                if is_over and is_guess and response.status < 500:
                    return None
            if is_over:
                logger.warning("%s can't be had: %s", redact(url), why)
                break
            await asyncio.sleep(PAUSES[attempt])
        return None

    async def robots(self, url: str) -> bytes | None:
        """The robots.txt at *url*: that of all workers, which is fetched once."""
        robots = self._mocra.component(SharedRobots)
        origin = origin_of(urlparse_cached(Request(url)))

        async def fetch() -> Answer:
            meta = {"dont_obey_robotstxt": True, "dont_retry": True, "allow_offsite": True}
            try:
                response = await self._download(Request(url, callback=NO_CALLBACK, meta=meta))
            except IgnoreRequest:
                return Answer(404)
            return Answer(response.status, response.body, response.headers.get("Retry-After"))

        end = time.monotonic() + PATIENCE
        while True:
            file = await robots.find(origin, fetch)
            if file.body is not None or time.monotonic() > end:
                return file.body
            await asyncio.sleep(max(0.5, min(file.not_now - time.time(), 5.0)))

    async def _download(self, request: Request) -> Response:
        engine = self._crawler.engine
        assert engine is not None
        return await engine.download_async(request)
