"""What a worker imports at its start, and what it does not."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from scrapy import Spider
from scrapy.settings import Settings

import mocra_scrapy.interfaces
import mocra_scrapy.models
from mocra_scrapy import Addon
from mocra_scrapy.addon import early_imports
from mocra_scrapy.exceptions import ConfigurationError

#: Of features that are off by default. Each class of values in them costs a start half a millisecond.
DORMANT = [
    "settings.breaker",
    "settings.cache",
    "settings.events",
    "settings.httpcache",
    "settings.pipelines",
    "settings.proxies",
    "settings.seeds",
    "settings.sessions",
    "settings.traps",
    "backends.composite",
    "backends.kafka",
    "backends.redis",
    "cache.shared_cache",
    "feeds.plans",
    "proxies",
    "seeds",
    "sessions",
    "pipelines",
]
CRAWL = f"""
import sys
from scrapy import Spider
from scrapy.crawler import AsyncCrawlerProcess

class Nothing(Spider):
    name = "nothing"
    async def start(self):
        if False:
            yield

process = AsyncCrawlerProcess({{"ADDONS": {{"mocra_scrapy.Addon": 300}}, "MOCRA_BACKEND": "memory://", "LOG_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False}})
process.crawl(Nothing)
process.start()
print([name for name in {DORMANT!r} if "mocra_scrapy." + name in sys.modules])
"""


@pytest.mark.slow
def test_a_crawl_imports_nothing_of_what_is_off() -> None:
    done = subprocess.run([sys.executable, "-c", CRAWL], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_BREAKER", "nonsense"),
        ("MOCRA_TRAPS", {"nonsense": 1}),
        ("MOCRA_BATCH_ITEMS", 0),
        ("MOCRA_SEEDS", [{"type": "nonsense"}]),
        ("MOCRA_SEEDS_POLL", -1),
        ("MOCRA_EVENTS", {"nonsense": {}}),
        ("MOCRA_PROXIES", {"nonsense": 1}),
        ("MOCRA_SESSIONS", {"": {}}),
        ("MOCRA_SESSION_TTL", -1),
        ("MOCRA_SECRET_KEY", "too short"),
        ("MOCRA_HTTPCACHE_SCOPE", "nonsense"),
    ],
)
def test_what_is_off_is_checked_where_it_was_touched(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Addon(type("C", (), {"spidercls": Spider})()).update_settings(Settings({name: value}))  # type: ignore[arg-type]


def test_a_key_of_the_environment_counts_as_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCRA_SECRET_KEY", "too short")
    with pytest.raises(ConfigurationError, match="MOCRA_SECRET_KEY"):
        Addon(type("C", (), {"spidercls": Spider})()).update_settings(Settings())  # type: ignore[arg-type]


@pytest.mark.parametrize("package", [mocra_scrapy.interfaces, mocra_scrapy.models])
def test_a_package_gives_all_that_it_names(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is vars(package)[name]
    with pytest.raises(AttributeError, match="nonsense"):
        package.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("settings", "imported"),
    [
        ({}, True),
        ({"TWISTED_REACTOR_ENABLED": False}, False),
        ({"DOWNLOAD_HANDLERS": {"http": "project.Handler", "https": "project.Handler"}}, False),
        ({"DOWNLOAD_HANDLERS": {"http": "project.Handler"}}, True),
    ],
)
def test_scrapys_context_factory_is_imported_where_it_will_be(
    settings: dict[str, Any], imported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread, whose stack is short; what fails there, Scrapy meets and tells."""
    asked: list[tuple[str, str]] = []

    def note(name: str) -> None:
        import threading

        asked.append((name, threading.current_thread().name))
        raise ImportError(name)

    monkeypatch.delitem(sys.modules, early_imports.MODULE, raising=False)
    monkeypatch.setattr(early_imports, "import_module", note)
    early_imports.import_contextfactory(Settings(settings))
    assert asked == ([(early_imports.MODULE, "mocra imports")] if imported else [])
