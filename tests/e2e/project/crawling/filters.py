"""A filter of the project's own, as some have."""

from scrapy.dupefilters import RFPDupeFilter


class OwnFilter(RFPDupeFilter):
    pass
