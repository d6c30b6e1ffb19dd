"""A plain project with the one line, as a user has it."""

import os

BOT_NAME = "crawling"
SPIDER_MODULES = ["crawling.spiders"]
ADDONS = {"mocra_scrapy.Addon": 300}
MOCRA_BACKEND = os.environ.get("MOCRA_BACKEND", "memory://")
TELNETCONSOLE_ENABLED = False
ROBOTSTXT_OBEY = False
RETRY_TIMES = 2
EXTENSIONS = {"crawling.watch.Watch": 0}
MOCRA_THROTTLE_FEEDBACK_STATUSES = []  # pages of the mock site answer 503 once: that is not what most tests are about
