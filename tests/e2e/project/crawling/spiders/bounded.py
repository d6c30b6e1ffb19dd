"""Crawls that end before all was fetched: files that wait too long, sites that have had what they may have."""

import json

import scrapy
from scrapy.http import Request


class FilesSpider(scrapy.Spider):
    """A page of slot ``first`` with five files that fail; ``later`` pages of slot ``later`` with four files each, which
    are held by the site; ``zero`` pages that are told once to come back after no time.
    """

    name = "with_files"

    async def start(self):
        yield self.page("first", 0, [f"sick/{n}" for n in range(5)])
        for n in range(int(self.later)):
            yield self.page("later", n, [f"held/{n}.{part}" for part in range(4)])
        for n in range(int(self.zero)):
            yield Request(f"{self.site}/moods/429+0,200/{n}", meta={"download_slot": "zero"})

    def page(self, slot, n, files):
        files = [f"{self.site}/{path}" for path in files]
        return Request(f"{self.site}/ok/{slot}/{n}", meta={"download_slot": slot}, cb_kwargs={"files": files})

    def parse(self, response, files=()):
        yield {"url": response.url, "file_urls": list(files)}


class BoundedSpider(scrapy.Spider):
    """``paths``: JSON of slot -> ``[path, pages]``. Each of ``forks`` pages leads to ``links`` of slot ``queued``; slot
    ``deep`` is the graph.
    """

    name = "bounded"

    async def start(self):
        for n in range(int(self.forks)):
            yield Request(f"{self.site}/ok/forks/{n}", self.fork, meta={"download_slot": "forks"}, priority=2)
        yield Request(f"{self.site}/page/0", self.deep, meta={"download_slot": "deep"}, priority=1)
        for slot, (path, pages) in json.loads(self.paths).items():
            for n in range(pages):
                yield Request(f"{self.site}/{path}/{n}", meta={"download_slot": slot})

    def fork(self, response):
        yield {"url": response.url}
        name = response.url.rpartition("/")[2]
        for n in range(int(self.links)):
            yield Request(f"{self.site}/ok/queued/{name}.{n}", meta={"download_slot": "queued"})

    def deep(self, response):
        for href in response.css("a::attr(href)").getall():
            yield response.follow(href, self.deep, meta={"download_slot": "deep"})

    def parse(self, response):
        yield {"url": response.url}
