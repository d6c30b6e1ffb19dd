"""Crash-safe, polite, operable distributed crawling for any Scrapy project."""
