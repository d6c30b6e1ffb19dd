"""Two hosts: one that fails, or asks us to wait, beside a healthy one. The mock site under two
names.
"""

import scrapy


class TwoHostsSpider(scrapy.Spider):
    """``pages`` of ``/<bad>/<n>`` on localhost, and as many of ``/ok/<n>`` on 127.0.0.1; ``first``
    is fetched before them, from the healthy one if it leads elsewhere.
    """

    name = "two_hosts"

    async def start(self):
        bad = self.site.replace("127.0.0.1", "localhost")
        if getattr(self, "first", None):
            host = self.site if self.first.startswith("elsewhere/") else bad
            yield scrapy.Request(f"{host}/{self.first}", priority=1)
        for n in range(int(self.pages)):
            yield scrapy.Request(f"{bad}/{self.bad}/{n}")
            yield scrapy.Request(f"{self.site}/ok/{n}")

    def parse(self, response):
        yield {"url": response.url}
