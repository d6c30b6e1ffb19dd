"""Every wrong setting is told by its name, with the fix; defaults come from one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings import default_settings
from mocra_scrapy.settings.crawl import read_options

NAMES = [name for name in dir(default_settings) if name.startswith("MOCRA_")]


def test_defaults_are_accepted() -> None:
    options = read_options(Settings(), "books")
    assert options.crawl == "scrapybot:books", "outside of every project"
    assert options.backends.queue == "memory://"
    assert options.prefetch == options.concurrency == 16
    assert options.queue.lifo, "Scrapy's default: last in first out"
    assert options.queue.isolate_after == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_LEASE", 0),
        ("MOCRA_LEASE", "soon"),
        ("MOCRA_LEASE", float("nan")),
        ("MOCRA_LEASE", True),
        ("MOCRA_MAX_DELIVERIES", 0),
        ("MOCRA_MAX_DELIVERIES", 2.5),
        ("MOCRA_PREFETCH", -1),
        ("MOCRA_SHARDS", 0),
        ("MOCRA_SEEN_TTL", 0),
        ("MOCRA_CLOSE", "sometimes"),
        ("MOCRA_QUEUE_ORDER", "random"),
        ("MOCRA_BACKEND", ""),
        ("MOCRA_BACKEND", 6379),
        ("MOCRA_KEY_PREFIX", " "),
        ("MOCRA_PROJECT", ""),
        ("MOCRA_PROJECT", "shop:books"),
        ("MOCRA_FRESH", "perhaps"),
        ("MOCRA_SECRET_PARAMS", ["*key*", 3]),
        ("MOCRA_CRAWL", ""),
        ("MOCRA_CRAWL", "x" * 201),
        ("MOCRA_CODEC", 3),
        ("MOCRA_COMPRESSION", "gzip"),
        ("MOCRA_ENTRY_MAX_BYTES", 10),
        ("MOCRA_ITEM_CLASSES", 5),
        ("MOCRA_ITEM_CLASSES", [dict]),
        ("MOCRA_REDIS_OPTIONS", "{socket_timeout: 2}"),
        ("MOCRA_REDIS_OPTIONS", ["socket_timeout"]),
        ("MOCRA_REQUIRE_SERIALIZABLE", "perhaps"),
        ("MOCRA_KEEP_SEEN", "maybe"),
        ("MOCRA_EXCHANGE_INTERVAL", -0.1),
        ("MOCRA_FLUSH_INTERVAL", 11),
        ("MOCRA_IDLE_POLL", 0),
        ("MOCRA_BYPASS_MAX_WAIT", -1),
        ("MOCRA_START_TIMEOUT", -1),
        ("MOCRA_STOP_TIMEOUT", "x"),
        ("MOCRA_OUTBOX_MAX", 0),
        ("MOCRA_SEEDS_AHEAD", -1),
        ("MOCRA_LOCAL_SEEN", -1),
        ("MOCRA_MAX_DEAD", 0),
        ("MOCRA_THROTTLE_SCOPE", "world"),
        ("MOCRA_THROTTLE", ["60/m"]),
        ("MOCRA_THROTTLE_ON_OUTAGE", "run"),
        ("MOCRA_DEAD_TTL", -1),
        ("MOCRA_BUDGETS", "pages"),
        ("MOCRA_DEAD_BODIES", -1),
        ("MOCRA_DEAD_BODIES", 1001),
        ("MOCRA_DEAD_BODIES_MAX_BYTES", "much"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_options(Settings({name: value}), "books")
    assert raised.value.subject == name
    assert str(raised.value).startswith(f"{name}: ")
    assert raised.value.fix


def test_every_setting_is_checked_by_a_test_above() -> None:
    """In this file, or in that of its area: ``test_<area>.py``; some in folders of their own."""
    here = Path(__file__).parent
    others = ("cron/test_options.py", "pipelines/test_optional_sinks.py")
    files = [*sorted(here.glob("test_*.py")), *(here.parent / name for name in others)]
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert [name for name in NAMES if f'("{name}", ' not in source] == ["MOCRA_ENABLED", "MOCRA_FAST"]


def test_texts_from_the_command_line_are_read() -> None:
    given = {
        "MOCRA_LEASE": "5",
        "MOCRA_KEEP_SEEN": "True",
        "MOCRA_PREFETCH": "0",
        "MOCRA_REDIS_OPTIONS": '{"socket_timeout": 2}',
        "CONCURRENT_REQUESTS": "0",
    }
    options = read_options(Settings(given), "x")
    assert (options.queue.lease, options.queue.keep_seen, options.prefetch, options.concurrency) == (5.0, True, 0, 256)
    assert options.redis_options == {"socket_timeout": 2}


@pytest.mark.parametrize(
    ("queue", "ours", "lifo"),
    [
        ("scrapy.squeues.LifoMemoryQueue", None, True),
        ("scrapy.squeues.FifoMemoryQueue", None, False),
        ("scrapy.squeues.FifoMemoryQueue", "lifo", True),
        ("scrapy.squeues.LifoMemoryQueue", "fifo", False),
    ],
)
def test_the_order_is_scrapys_unless_ours_is_set(queue: str, ours: str | None, lifo: bool) -> None:
    settings = {"SCHEDULER_MEMORY_QUEUE": queue, "MOCRA_QUEUE_ORDER": ours}
    assert read_options(Settings(settings), "x").queue.lifo is lifo


def test_every_default_has_its_line() -> None:
    source = Path(default_settings.__file__).read_text(encoding="utf-8")
    assert re.findall(r"^(MOCRA_\w+)", source, re.MULTILINE) == list(
        dict.fromkeys(re.findall(r"^(MOCRA_\w+)", source, re.MULTILINE))
    )
    for name in NAMES:
        assert re.search(rf"^{name}\b[^#]*#", source, re.MULTILINE), f"{name} has no comment"
