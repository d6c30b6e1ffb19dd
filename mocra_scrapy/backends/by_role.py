"""The selector: which backend has which role. :func:`open_by_role` makes one of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from mocra_scrapy.backends import open_backend
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import (
    IBackend,
)
from mocra_scrapy.interfaces.backend import CACHE_BOUNDS
from mocra_scrapy.models import ServerReport
from mocra_scrapy.models.backends import scheme_of

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import (
        IBreaker,
        ICache,
        IElection,
        ILocks,
        IRateLimiter,
        IRequestQueue,
        IShared,
        IStalls,
        IWorkers,
    )
    from mocra_scrapy.models import BreakerRules, CacheBounds, QueueOptions, StallRules
    from mocra_scrapy.models.backends import Abilities, BackendChoice


def open_by_role(choice: BackendChoice) -> IBackend:
    """The backend of a crawl, not connected yet: await its ``open()``.

    Raises:
        ConfigurationError: see :func:`~mocra_scrapy.backends.open_backend`, and roles that don't go
            together.
    """
    state = _named(choice.state_setting, choice.state, choice)
    if scheme_of(choice.queue) == "kafka":
        from mocra_scrapy.backends.composite import KafkaBackend

        return KafkaBackend(
            choice.queue,
            state,
            prefix=choice.prefix,
            options=choice.kafka,
            log=choice.log,
            setting=choice.queue_setting,
        )
    if choice.queue == choice.state:
        return state
    queue = _named(choice.queue_setting, choice.queue, choice)
    if queue.shared and not state.shared:
        raise ConfigurationError(
            choice.state_setting,
            f"{state.url} is of one process, and the requests of {queue.url} are of all workers: they could not elect a"
            " leader, lock or share values",
            f"Set it to {queue.url} as well",
        )
    return BackendByRole(queue, state)


def state_of(choice: BackendChoice) -> IBackend:
    """The backend that coordinates, for those who need no queue."""
    return _named(choice.state_setting, choice.state, choice)


def _named(setting: str, url: str, choice: BackendChoice) -> IBackend:
    """As :func:`~mocra_scrapy.backends.open_backend`, whose errors name the setting."""
    try:
        return open_backend(url, prefix=choice.prefix, options=choice.redis)
    except ConfigurationError as error:
        if error.subject != "MOCRA_BACKEND" or setting == "MOCRA_BACKEND":
            raise
        raise type(error)(setting, error.problem, error.fix) from error


@implementer(IBackend)
class BackendByRole:
    """Requests and all that is decided about them on *queue*; elections, locks, shared values and who is
    there on *state*. Opens and closes both.
    """

    def __init__(self, queue: IBackend, state: IBackend) -> None:
        self.queue, self.state = queue, state
        self.url = queue.url
        self.shared, self.durable = queue.shared, queue.durable

    def __getattr__(self, name: str) -> Any:
        """What only some backends have, as keys of seeds: the queue's, else the state's."""
        if name.startswith("_") or name in ("queue", "state"):
            raise AttributeError(name)
        return getattr(self.queue if hasattr(self.queue, name) else self.state, name)

    async def open(self, timeout: float = 15.0) -> ServerReport:
        queue = await self.queue.open(timeout)
        state = await self.state.open(timeout)
        facts = {**queue.facts, "coordination": self.state.url}
        warnings = [f"{self.state.url}: {warning}" for warning in state.warnings]
        return ServerReport(facts, [*queue.warnings, *warnings])

    def request_queue(self, crawl: str, options: QueueOptions) -> IRequestQueue:
        return self.queue.request_queue(crawl, options)

    def rate_limiter(self, crawl: str, options: QueueOptions) -> IRateLimiter:
        return self.queue.rate_limiter(crawl, options)

    def breaker(self, crawl: str, rules: BreakerRules, options: QueueOptions) -> IBreaker:
        return self.queue.breaker(crawl, rules, options)

    def stalls(self, crawl: str, rules: StallRules, options: QueueOptions) -> IStalls:
        return self.queue.stalls(crawl, rules, options)

    def election(self, role: str) -> IElection:
        return self.state.election(role)

    def locks(self) -> ILocks:
        return self.state.locks()

    def shared_values(self, namespace: str) -> IShared:
        return self.state.shared_values(namespace)

    def cache(self, namespace: str, bounds: CacheBounds = CACHE_BOUNDS) -> ICache:
        return self.state.cache(namespace, bounds)

    def worker_registry(self) -> IWorkers:
        return self.state.worker_registry()

    async def crawls(self) -> Sequence[str]:
        return await self.queue.crawls()

    async def close(self) -> None:
        try:
            await self.queue.close()
        finally:
            await self.state.close()


def abilities() -> Mapping[str, Abilities]:
    """What the backends of this package declare, by name."""
    from mocra_scrapy.backends.composite import KafkaBackend
    from mocra_scrapy.backends.memory import MemoryBackend
    from mocra_scrapy.backends.redis import RedisBackend

    return {
        "memory": MemoryBackend.abilities,
        "redis": RedisBackend.abilities,
        "kafka": KafkaBackend.abilities,
    }


#: Flag -> its column in the guide.
COLUMNS = {
    "queue": "requests",
    "limits": "limits",
    "coordination": "coordination",
    "events": "events",
    "window": "below Kafka",
    "shared": "shared",
    "durable": "durable",
}


def abilities_table() -> str:
    """The table of the guide "Choose a backend", as reStructuredText."""
    rows = [("backend", *COLUMNS.values())]
    for name, declared in abilities().items():
        flags = ("yes" if getattr(declared, flag) else "\N{EN DASH}" for flag in COLUMNS)
        rows.append((f"``{name}://``", *flags))
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines)


def exceptions_list() -> str:
    """The rules that a backend keeps in part only, for the same guide."""
    lines = [
        f"* ``{name}://``: ``{rule}``: {why}"
        for name, declared in abilities().items()
        for rule, why in declared.without.items()
    ]
    return "\n".join(lines)
