"""The ``MOCRA_*`` settings of one crawl, read once, checked, and frozen.

Every check names the setting and the fix; nothing is guessed and nothing is clamped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import QueueOptions
from mocra_scrapy.models.backends import BackendChoice
from mocra_scrapy.settings.backends import read_backends
from mocra_scrapy.settings.budgets import BudgetRules, read_budgets
from mocra_scrapy.settings.identity import project_name
from mocra_scrapy.settings.reader import SettingsReader
from mocra_scrapy.settings.throttle import Limits, read_limits

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

CLOSE_MODES = ("finished", "idle", "never")
QUEUE_ORDERS = ("fifo", "lifo")
COMPRESSIONS = ("auto", "on", "off")


@dataclass(frozen=True, slots=True)
class Options:
    """What :mod:`mocra_scrapy.settings.default_settings` documents, in the types that the code
    uses.
    """

    backends: BackendChoice
    redis_options: Mapping[str, Any]
    key_prefix: str
    project: str
    crawl: str
    fresh: bool
    secret_params: list[str]
    queue: QueueOptions
    prefetch: int
    at_once: bool
    concurrency: int
    outbox_max: int
    seeds_ahead: int
    exchange_interval: float
    flush_interval: float
    idle_poll: float
    close: str
    local_seen: int
    codec: str
    compression: str
    entry_max_bytes: int
    item_classes: list[str]
    require_serializable: bool
    start_timeout: float
    stop_timeout: float
    start_queue: bool
    bypass_max_wait: float
    limits: Limits
    budgets: BudgetRules


def _order(read: SettingsReader, settings: BaseSettings) -> bool:
    """Whether the newest request of a priority goes first: as Scrapy's own queue setting says,
    unless ours does.
    """
    if read.value("MOCRA_QUEUE_ORDER") is not None:
        return read.choice("MOCRA_QUEUE_ORDER", QUEUE_ORDERS) == "lifo"
    queue = settings.get("SCHEDULER_MEMORY_QUEUE")
    name = queue if isinstance(queue, str) else getattr(queue, "__name__", "")
    return "fifo" not in name.rpartition(".")[2].lower()


def _crawl_name(read: SettingsReader, project: str, spider: str) -> str:
    name = f"{project}:{spider}" if read.value("MOCRA_CRAWL") is None else read.text("MOCRA_CRAWL", "a name")
    if len(name) > 200:
        raise ConfigurationError("MOCRA_CRAWL", f"a name of {len(name)} characters", "Use 200 at most")
    return name


def _queue_options(read: SettingsReader, settings: BaseSettings, limits: Limits) -> QueueOptions:
    most = read.whole("MOCRA_MAX_DELIVERIES", 1, 200, "a number of hand-outs")
    shards, ttl = read.value("MOCRA_SHARDS"), read.value("MOCRA_SEEN_TTL")
    if limits.uses_scopes and shards is not None and read.whole("MOCRA_SHARDS", 1, 1024, "a number of shards") > 1:
        raise ConfigurationError(
            "MOCRA_SHARDS", "scopes of MOCRA_THROTTLE hold on one shard only", "Set it to 1, or take out the scopes"
        )
    return QueueOptions(
        lease=read.number("MOCRA_LEASE", 1, 86_400, "a time in seconds"),
        max_deliveries=most,
        isolate_after=max(1, min(2, most - 1)),
        lifo=_order(read, settings),
        seen_ttl=None if ttl is None else read.number("MOCRA_SEEN_TTL", 1, 10 * 365 * 86_400, "a time in seconds"),
        keep_seen=read.flag("MOCRA_KEEP_SEEN"),
        shards=None if shards is None else read.whole("MOCRA_SHARDS", 1, 1024, "a number of shards"),
        max_dead=read.whole("MOCRA_MAX_DEAD", 1, 100_000_000, "a number of dead letters"),
        dead_ttl=read.number("MOCRA_DEAD_TTL", 0, 10 * 365 * 86_400, "a time in seconds") or None,
        dead_bodies=read.whole("MOCRA_DEAD_BODIES", 0, 1000, "a number of responses"),
        dead_bodies_bytes=read.whole("MOCRA_DEAD_BODIES_MAX_BYTES", 0, 2**40, "a size in bytes"),
        rules=limits.rule_set(),
        scopes=limits.uses_scopes,
    )


def read_options(
    settings: BaseSettings, spider_name: str, delay: float | None = None, *, module: str | None = None
) -> Options:
    """The checked settings of a crawl.

    Args:
        delay: see :func:`mocra_scrapy.settings.throttle.read_limits`.
        module: the spider's, see :func:`mocra_scrapy.settings.identity.project_name`.

    Raises:
        ConfigurationError: names the first setting that is wrong, and the fix.
    """
    read, limits, budgets = SettingsReader(settings), read_limits(settings, delay), read_budgets(settings)
    concurrency = settings.getint("CONCURRENT_REQUESTS")
    if concurrency <= 0:
        concurrency = 256  # Scrapy 2.18: 0 is "no limit"; what is leased ahead still needs one
    prefetch, project = read.value("MOCRA_PREFETCH"), project_name(settings, module)
    return Options(
        backends=read_backends(settings),
        redis_options=read.mapping("MOCRA_REDIS_OPTIONS"),
        key_prefix=read.text("MOCRA_KEY_PREFIX", "a text"),
        project=project,
        crawl=_crawl_name(read, project, spider_name),
        fresh=read.flag("MOCRA_FRESH"),
        secret_params=read.texts("MOCRA_SECRET_PARAMS", "patterns of names"),
        queue=_queue_options(read, settings, limits),
        at_once=prefetch is None,
        prefetch=min(concurrency, 256)
        if prefetch is None
        else read.whole("MOCRA_PREFETCH", 0, 10_000, "a number of requests"),
        concurrency=concurrency,
        outbox_max=read.whole("MOCRA_OUTBOX_MAX", 1, 10_000_000, "a number of requests"),
        seeds_ahead=read.whole("MOCRA_SEEDS_AHEAD", 0, 1_000_000_000, "a number of requests"),
        exchange_interval=read.number("MOCRA_EXCHANGE_INTERVAL", 0, 10, "a time in seconds"),
        flush_interval=read.number("MOCRA_FLUSH_INTERVAL", 0, 10, "a time in seconds"),
        idle_poll=read.number("MOCRA_IDLE_POLL", 0.05, 60, "a time in seconds"),
        close=read.choice("MOCRA_CLOSE", CLOSE_MODES),
        local_seen=read.whole("MOCRA_LOCAL_SEEN", 0, 100_000_000, "a number of fingerprints"),
        codec=read.text("MOCRA_CODEC", "a codec"),
        compression=read.choice("MOCRA_COMPRESSION", COMPRESSIONS),
        entry_max_bytes=read.whole("MOCRA_ENTRY_MAX_BYTES", 256, 512 * 1024 * 1024, "a size in bytes"),
        item_classes=read.paths("MOCRA_ITEM_CLASSES"),
        require_serializable=read.flag("MOCRA_REQUIRE_SERIALIZABLE"),
        start_timeout=read.number("MOCRA_START_TIMEOUT", 0, 3600, "a time in seconds"),
        stop_timeout=read.number("MOCRA_STOP_TIMEOUT", 0, 3600, "a time in seconds"),
        start_queue=bool(settings.get("SCHEDULER_START_MEMORY_QUEUE")),
        bypass_max_wait=read.number("MOCRA_BYPASS_MAX_WAIT", 0, 86_400, "a time in seconds"),
        limits=limits,
        budgets=budgets,
    )
