"""Small spiders, one for each way in which requests and items arise: :mod:`tests.e2e.test_ways` runs
each of them with Scrapy alone and with the suite.
"""
