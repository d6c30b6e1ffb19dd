"""Follows every link of one site and makes an item of each page.

    scrapy crawl docs -a start=http://localhost:8000/

Start it as often as you like, on as many machines as you like, once MOCRA_BACKEND names a server:
all of them work on the same crawl.
"""

from urllib.parse import urldefrag, urlsplit

import scrapy
from scrapy.linkextractors import LinkExtractor

from ..items import Page


class DocsSpider(scrapy.Spider):
    """Arguments: ``start``, the URL to begin with; ``deny``, a regular expression of URLs to leave
    out.
    """

    name = "docs"

    def __init__(self, start=None, deny="", **kwargs):
        super().__init__(**kwargs)
        if not start:
            raise ValueError("say where to begin: scrapy crawl docs -a start=http://localhost:8000/")
        self.start_url = start
        site = urlsplit(start)
        self.allowed_domains = [site.hostname]
        self.links = LinkExtractor(deny=deny or (), allow_domains=[site.netloc])  # netloc: with the port

    async def start(self):
        # One worker of the crawl runs this. If it dies, another one runs it again, and what was
        # stored already is filtered: yield the same requests in the same order, and nothing is
        # fetched twice or lost.
        yield scrapy.Request(self.start_url)

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
