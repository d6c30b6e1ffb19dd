"""A page of each site through each of some proxies, which are known by a tag."""

import scrapy


class ThroughSpider(scrapy.Spider):
    """*tags* and *sites* have commas in between."""

    name = "through"

    async def start(self):
        for tag in self.tags.split(","):
            for site in self.sites.split(","):
                wish = {"mocra_proxy": {"tags": [tag]}}
                yield scrapy.Request(f"{site}/ok/{tag}", meta=wish, errback=self.failed)

    def parse(self, response):
        yield {"page": response.url, "proxy": response.meta["proxy"], "headers": str(response.request.headers)}

    def failed(self, failure):
        yield {"failed": failure.request.url}
