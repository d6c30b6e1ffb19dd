"""Which client library is good enough."""

from __future__ import annotations

import sys

import pytest

from mocra_scrapy.backends.kafka.client import need_client
from mocra_scrapy.exceptions import ConfigurationError

confluent_kafka = pytest.importorskip("confluent_kafka")


def test_the_one_that_is_installed() -> None:
    need_client("MOCRA_BACKEND", "kafka://")


@pytest.mark.parametrize("version", ["2.13.2", "2.6.0", "1.9.2"])
def test_one_that_is_too_old(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(confluent_kafka, "libversion", lambda: (version, 0))
    with pytest.raises(ConfigurationError, match=rf"kafka:// needs confluent-kafka 2\.14 or newer, this is {version}"):
        need_client("MOCRA_BACKEND", "kafka://")


@pytest.mark.parametrize("version", ["2.14.0-RC1", "2.100.1", "3.0.0"])
def test_newer_ones(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(confluent_kafka, "libversion", lambda: (version, 0))
    need_client("MOCRA_BACKEND", "kafka://")


def test_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigurationError, match="KafkaPipeline needs confluent-kafka"):
        need_client("ITEM_PIPELINES", "KafkaPipeline")
