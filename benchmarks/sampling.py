"""A sampling profiler for one process: whose code is running, every millisecond of CPU time. Costs
about one per cent.
"""

from __future__ import annotations

import signal
from collections import Counter
from types import FrameType
from typing import Any

INTERVAL = 0.001  # s of CPU time

#: Whose work a line of code is, by a part of its file's path; the first that fits. Other files
#: (w3lib, urllib, asyncio, zstd, …) count for whoever called them.
OWNERS = (
    ("mocra_scrapy/codec/", "ours: codec"),
    ("mocra_scrapy/worker/duplicates", "ours: known links"),
    ("mocra_scrapy/worker/early_duplicates", "ours: known links"),
    ("mocra_scrapy/worker/recent_fingerprints", "ours: known links"),
    ("mocra_scrapy/spidermiddlewares/known", "ours: known links"),
    ("mocra_scrapy/statscollectors", "signals, stats, log"),
    ("mocra_scrapy/engine/callback_output", "scraper: tasks, items"),
    ("mocra_scrapy/backends", "ours: exchange"),
    ("mocra_scrapy/worker/exchange_", "ours: exchange"),
    ("mocra_scrapy/worker/outages", "ours: exchange"),
    ("mocra_scrapy/", "ours: scheduler"),
    ("redis/", "Redis client"),
    ("scrapy_redis/", "scrapy-redis"),
    ("benchmarks/worker", "the spider and its selectors"),
    ("parsel/", "the spider and its selectors"),
    ("scrapy/selector", "the spider and its selectors"),
    ("scrapy/spidermiddlewares", "spider middlewares"),
    ("scrapy/core/spidermw", "spider middlewares"),
    ("scrapy/utils/asyncgen", "spider middlewares"),
    ("scrapy/downloadermiddlewares", "downloader middlewares"),
    ("scrapy/core/downloader/middleware", "downloader middlewares"),
    ("scrapy/core/downloader", "downloader and HTTP client"),
    ("scrapy/utils/_download_handlers", "downloader and HTTP client"),
    ("scrapy/responsetypes", "downloader and HTTP client"),
    ("twisted/web", "downloader and HTTP client"),
    ("twisted/internet/tcp", "downloader and HTTP client"),
    ("scrapy/core/scraper", "scraper: tasks, items"),
    ("scrapy/utils/defer", "scraper: tasks, items"),
    ("scrapy/pipelines", "scraper: tasks, items"),
    ("scrapy/core/scheduler", "Scrapy's scheduler and filter"),
    ("scrapy/pqueues", "Scrapy's scheduler and filter"),
    ("scrapy/squeues", "Scrapy's scheduler and filter"),
    ("queuelib/", "Scrapy's scheduler and filter"),
    ("scrapy/dupefilters", "Scrapy's scheduler and filter"),
    ("scrapy/utils/request", "Scrapy's scheduler and filter"),
    ("scrapy/core/engine", "engine"),
    ("scrapy/signalmanager", "signals, stats, log"),
    ("scrapy/utils/signal", "signals, stats, log"),
    ("scrapy/statscollectors", "signals, stats, log"),
    ("scrapy/extensions", "signals, stats, log"),
    ("scrapy/logformatter", "signals, stats, log"),
)


class Sampler:
    """Counts of samples by owner, and by line, between :meth:`start` and :meth:`stop`. Main thread
    only.
    """

    def __init__(self) -> None:
        self.owners: Counter[str] = Counter()
        self.functions: Counter[tuple[str, str]] = Counter()
        self._names: dict[str, str | None] = {}

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)

    def _owner(self, path: str) -> str | None:
        if path not in self._names:
            self._names[path] = next((owner for part, owner in OWNERS if part in path), None)
        return self._names[path]

    def _sample(self, number: int, frame: FrameType | None) -> None:
        names, functions = self._names, self.functions
        while frame is not None:
            path = frame.f_code.co_filename
            owner = names[path] if path in names else self._owner(path)
            if owner is not None and frame.f_code.co_name not in ("main", "<module>"):  # of the worker: the loop
                self.owners[owner] += 1
                functions[owner, f"{path.rpartition('/')[2]}:{frame.f_code.co_name}"] += 1
                return
            frame = frame.f_back
        self.owners["event loop, reactor, the rest"] += 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "owners": dict(self.owners),
            "functions": [[owner, name, n] for (owner, name), n in self.functions.most_common(60)],
        }
