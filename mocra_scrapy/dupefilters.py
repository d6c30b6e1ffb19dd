"""``DUPEFILTER_CLASS`` of the package. What it does stands in :mod:`mocra_scrapy.worker.duplicates`."""

from mocra_scrapy.worker.duplicates import RecentDupeFilter

__all__ = ["RecentDupeFilter"]
