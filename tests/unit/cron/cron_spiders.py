"""A project's spiders, for tests that only need their names."""

from scrapy import Spider


class First(Spider):
    name = "first"
