"""What several tests begin with."""

from __future__ import annotations

import pytest

from mocra_scrapy.codec.requests import RequestCodec
from tests.unit.codec.stored_values import ItemSpider


@pytest.fixture
def spider() -> ItemSpider:
    return ItemSpider()


@pytest.fixture
def codec(spider: ItemSpider) -> RequestCodec:
    return RequestCodec(spider, max_bytes=100_000)
