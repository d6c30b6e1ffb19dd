"""Follows every link of one site and makes an item of each page.

    scrapy mocra site                                        in another terminal: a site to try it on
    scrapy crawl docs                                        crawls that
    scrapy crawl docs -a start=https://docs.example.org/     crawls another one

Start it as often as you like, on as many machines as you like, once MOCRA_BACKEND names a server:
all of them work on the same crawl.
"""

import asyncio
from urllib.parse import urldefrag, urlsplit

import scrapy
from scrapy.exceptions import CloseSpider
from scrapy.linkextractors import LinkExtractor

from ..items import Page

#: What `scrapy mocra site` serves.
LOCAL = "http://127.0.0.1:8000/"


class DocsSpider(scrapy.Spider):
    """Arguments: ``start``, the URL to begin with; ``deny``, a regular expression of URLs to leave
    out.
    """

    name = "docs"

    def __init__(self, start=LOCAL, deny="", **kwargs):
        super().__init__(**kwargs)
        self.start_url = start
        site = urlsplit(start)
        if not site.hostname:
            raise ValueError(f"start={start} is no URL. Write it whole: -a start=https://docs.example.org/")
        self.allowed_domains = [site.hostname]
        self.links = LinkExtractor(deny=deny or (), allow_domains=[site.netloc])  # netloc: with the port

    async def start(self):
        # One worker of the crawl runs this. If it dies, another one runs it again, and what was
        # stored already is filtered: yield the same requests in the same order, and nothing is
        # fetched twice or lost.
        if self.start_url == LOCAL:
            await self.see_that_it_is_served()
        yield scrapy.Request(self.start_url)

    async def see_that_it_is_served(self):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", 8000)
            writer.close()
        except OSError:
            self.logger.error(
                "Nothing is served at %s. Run `scrapy mocra site` in another terminal, or say where to begin:"
                " -a start=https://docs.example.org/",
                LOCAL,
            )
            raise CloseSpider("nothing_served") from None

    def parse(self, response):
        # A callback must be a method of the spider: requests travel between processes as data, and
        # come back by its name.
        if not isinstance(response, scrapy.http.TextResponse):
            return
        links = {urldefrag(link.url).url for link in self.links.extract_links(response)}
        yield Page(
            url=response.url,
            title=response.css("title::text").get(default="").strip(),
            words=sum(len(text.split()) for text in response.xpath("//body//text()").getall()),
            links=len(links),
        )
        for url in sorted(links):
            # Known URLs are filtered over the whole cluster: yield all that you find.
            yield response.follow(url, callback=self.parse)
