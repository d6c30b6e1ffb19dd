"""One module a verb of `scrapy mocra` and `scrapy cron`."""
