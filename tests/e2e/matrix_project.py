"""The project of the matrix test: what ordinary ones have, all together, and a spider of each kind."""

SETTINGS = """
    COOKIES_ENABLED = True
    HTTPCACHE_ENABLED = True
    HTTPCACHE_DIR = "cache"
    HTTPCACHE_IGNORE_HTTP_CODES = [403, 503]
    CONCURRENT_REQUESTS = 2
    ITEM_PIPELINES = {
        "shop.parts.Numbered": 100,
        "scrapy.pipelines.files.FilesPipeline": 200,
        "scrapy.pipelines.images.ImagesPipeline": 300,
    }
    FILES_STORE = "files"
    IMAGES_STORE = "images"
    IMAGES_THUMBS = {"small": (4, 4)}
    DOWNLOAD_HANDLERS = {"http": "shop.parts.Browser"}
    DOWNLOADER_MIDDLEWARES = {"shop.parts.Signed": 543}
    SPIDER_MIDDLEWARES = {"shop.parts.Counted": 543}
    FEEDS = {
        "items.jsonl": {"format": "jsonlines"},
        "items.csv": {"format": "csv", "fields": ["url", "title", "more"]},
        "items%s.json": {"format": "json"},
        "items%s.xml": {"format": "xml"},
    }
"""

PARTS = """
    import scrapy
    from itemloaders.processors import Join, MapCompose, TakeFirst
    from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
    from scrapy.loader import ItemLoader
    from scrapy_playwright.page import PageMethod


    class Page(scrapy.Item):
        url = scrapy.Field()
        title = scrapy.Field()
        more = scrapy.Field()
        file_urls = scrapy.Field()
        files = scrapy.Field()
        image_urls = scrapy.Field()
        images = scrapy.Field()


    class PageLoader(ItemLoader):
        default_item_class = Page
        default_output_processor = TakeFirst()
        title_in = MapCompose(str.strip)
        more_out = Join("|")
        file_urls_out = image_urls_out = list


    class Tab:
        async def evaluate(self, script, times=1):
            return [script] * times


    class Browser(HTTP11DownloadHandler):
        # What scrapy-playwright's does with a page's methods, without a browser.

        async def download_request(self, request):
            response = await super().download_request(request)
            for method in request.meta.get("playwright_page_methods", ()):
                assert type(method) is PageMethod and request.meta["playwright"] is True
                if callable(method.method):
                    method.result = await method.method(Tab(), *method.args, **method.kwargs)
                else:
                    method.result = await getattr(Tab(), method.method)(*method.args, **method.kwargs)
            return response


    class Numbered:
        def process_item(self, item):
            item["url"] = item["url"].partition("//")[2].partition("/")[2]
            return item


    class Signed:
        def process_request(self, request):
            request.headers.setdefault("X-Signed", "yes")
            request.meta["signed"] = True


    class Counted:
        def process_spider_output(self, response, result):
            for one in result:
                if isinstance(one, scrapy.Request):
                    one.meta.setdefault("steps", []).append(response.meta.get("depth", 0))
                yield one

        async def process_spider_output_async(self, response, result):
            async for one in result:
                if isinstance(one, scrapy.Request):
                    one.meta.setdefault("steps", []).append(response.meta.get("depth", 0))
                yield one
"""

SPIDERS = """
    import scrapy
    from scrapy.linkextractors import LinkExtractor
    from scrapy.spiders import CrawlSpider, CSVFeedSpider, Rule, SitemapSpider, XMLFeedSpider
    from scrapy_playwright.page import PageMethod

    from shop.parts import PageLoader


    class Site:
        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.site = site
            self.start_urls = [site + self.first]

        def item(self, response, *more, **values):
            loader = PageLoader(response=response)
            loader.add_value("url", response.url)
            loader.add_value("title", values.get("title", " no title "))
            loader.add_value("more", [str(one) for one in more])
            loader.add_value("file_urls", values.get("files", []))
            loader.add_value("image_urls", values.get("images", []))
            return loader.load_item()


    class Rules(Site, CrawlSpider):
        name, first = "rules", "/page/0"
        rules = [Rule(LinkExtractor(allow=r"/page/"), callback="parse_page", follow=True, cb_kwargs={"kind": "inner"})]

        def parse_page(self, response, kind):
            assert response.meta["signed"]
            yield self.item(response, kind, response.meta["link_text"])


    class Xml(Site, XMLFeedSpider):
        name, first, itertag = "xml", "/feed/30.xml", "row"

        def parse_node(self, response, node):
            title = node.xpath("title/text()").get()
            yield response.follow(node.xpath("path/text()").get(), self.parse_row, cb_kwargs={"title": title})

        def parse_row(self, response, title):
            yield self.item(response, response.meta["steps"], title=title)


    class Csv(Site, CSVFeedSpider):
        name, first = "csv", "/feed/30.csv"

        def parse_row(self, response, row):
            yield response.follow(row["path"], self.parse_page, meta={"row": row})

        def parse_page(self, response):
            yield self.item(response, title=response.meta["row"]["title"])


    class Map(Site, SitemapSpider):
        name, first = "map", "/feed/30.sitemap"
        sitemap_rules = [(r"/ok/", "parse_page")]

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.sitemap_urls = self.start_urls

        def _get_sitemap_body(self, response):
            return response.body  # the site doesn't say that it is XML

        def sitemap_filter(self, entries):
            for entry in entries:
                yield {**entry, "loc": self.site + entry["loc"]}

        def parse_page(self, response):
            yield self.item(response)


    class Members(Site, scrapy.Spider):
        name, first = "members", "/login"
        handle_httpstatus_list = [403]

        def log_in(self, **more):
            return scrapy.FormRequest(self.start_urls[0], formdata={"user": "zoe", "password": "p&q"}, **more)

        async def start(self):
            yield self.log_in(callback=self.logged_in)

        def logged_in(self, response):
            for n in range(28):
                methods = [PageMethod("evaluate", f"page {n}", times=2), PageMethod(self.scroll, depth=n)]
                meta = {"playwright": True, "playwright_page_methods": methods, "playwright_context": "members"}
                meta["dont_cache"] = True  # a page that comes from a cache has seen no browser
                yield response.follow(f"/members/{n}", self.parse_page, cb_kwargs={"n": n}, meta=meta)

        async def scroll(self, tab, depth):
            return f"{(await tab.evaluate('down'))[0]} {depth}"

        async def parse_page(self, response, n):
            if response.status == 403:  # each process has cookies of its own
                await self.crawler.engine.download_async(self.log_in(dont_filter=True))
                yield response.request.replace(dont_filter=True)
                return
            did = [method.result for method in response.meta["playwright_page_methods"]]
            media = {"files": [f"{self.site}/ok/file-{n % 5}"], "images": [f"{self.site}/image/{n % 3}.png"]}
            yield self.item(response, *did, response.meta["playwright_context"], **media)


    class Mixed(Site, scrapy.Spider):
        name, first = "mixed", "/links/24"

        def parse(self, response):
            links = response.css("a::attr(href)").getall()
            for number, link in enumerate(links):
                yield response.follow(
                    link,
                    self.parse_page,
                    cookies={"basket": str(number % 3)},
                    meta={"cookiejar": number % 3, "pair": (number, {number})},
                    priority=number,
                )
            yield response.follow("/status/410", self.parse_page, errback=self.failed)

        async def parse_page(self, response):
            number, seen = response.meta["pair"]
            inline = await self.crawler.engine.download_async(response.follow(f"/ok/inline-{number}"))
            cookies = (response.request.headers["Cookie"] or b"").decode()
            files = [f"{self.site}/ok/file-{number % 5}"]
            yield self.item(response, number, sorted(seen), inline.status, cookies, files=files)

        def failed(self, failure):
            yield self.item(failure.value.response, failure.type.__name__)
"""
