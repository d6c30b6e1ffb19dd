"""How sessions of :class:`crawling.spiders.visitors.VisitorsSpider` are made."""

import os

from scrapy import FormRequest

from mocra_scrapy.sessions.policy import SessionPolicy


class Visitors(SessionPolicy):
    async def init(self, session, fetch):
        site = self.crawler.spider.site
        answer = await fetch(FormRequest(f"{site}/login", formdata={"password": os.environ["VISITOR_PASSWORD"]}))
        session["token"] = answer.text
        session.set_header("X-Token", answer.text)
        return answer.status == 200

    def check(self, response, request):
        return "expired" if response.text == "log in first" else "good"
