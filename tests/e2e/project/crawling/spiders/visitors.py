"""A site for members, whose cookie changes with each answer."""

import scrapy

from mocra_scrapy import Mocra


class VisitorsSpider(scrapy.Spider):
    name = "visitors"
    handle_httpstatus_list = (403,)

    async def start(self):
        for n in range(int(getattr(self, "chains", 4))):
            yield scrapy.Request(f"{self.site}/page/{n}/0")
        yield scrapy.Request(f"{self.site}/page/broken/0")
        yield scrapy.Request(f"{self.site}/page/failing/0")

    def parse(self, response):
        session = Mocra.from_crawler(self.crawler).session(response.request)
        assert session["token"].endswith(response.text), "another visitor's page"
        self.logger.info("%s, %s, %s", response.request, response.request.headers, session)
        chain, at = response.url.split("/")[-2:]
        if chain == "broken":
            raise ValueError(f"nothing can be made of {response.request.headers}")
        told = {"headers": str(response.request.headers), "meta": str(response.meta)}
        yield {"url": response.url, "visitor": session.id, **told}
        if int(at) + 1 < int(self.pages):
            yield response.request.replace(url=f"{self.site}/page/{chain}/{int(at) + 1}", meta={})
