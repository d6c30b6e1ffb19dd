"""Pages of two sites, of which one is down, and chains of pages that go on until a file is there."""

from pathlib import Path

import scrapy


class ProxiedSpider(scrapy.Spider):
    """*site* is well, *dead* is not; *until* is the path of the file."""

    name = "proxied"

    def __init__(self, site: str, dead: str, until: str, pages: str = "40", **kwargs: str) -> None:
        super().__init__(**kwargs)
        self.site, self.dead, self.until, self.pages = site, dead, Path(until), int(pages)

    async def start(self):
        for n in range(self.pages):
            yield scrapy.Request(f"{self.site}/ok/{n}")
        for n in range(self.pages // 4):
            yield scrapy.Request(f"{self.dead}/ok/{n}", callback=self.never, errback=self.failed)
        for n in range(12):
            yield self.next_of(n, 0)
            sticky = {"mocra_proxy": {"sticky": f"account-{n}"}}
            yield scrapy.Request(f"{self.site}/ok/sticky-{n}-0", meta=sticky)

    def next_of(self, chain: int, n: int):
        return scrapy.Request(f"{self.site}/ok/chain-{chain}-{n}", self.parse_chain, cb_kwargs={"chain": chain, "n": n})

    def parse(self, response):
        assert b"captcha" not in response.body
        yield {"url": response.url}

    def parse_chain(self, response, chain, n):
        assert b"captcha" not in response.body
        if not self.until.exists():
            yield self.next_of(chain, n + 1)

    def never(self, response):
        raise AssertionError(f"{response} of a site that is down")

    def failed(self, failure):
        yield {"failed": failure.request.url if hasattr(failure, "request") else ""}
