"""The contracts, as rules that can be tested.

Each rule carries a name in brackets; the conformance suite (``tests/conformance``) has a test with
that name, and every backend passes all of them. A backend says ``@implementer(IRequestQueue)``;
mypy-zope checks it statically and :func:`mocra_scrapy.backends.open_backend` checks third-party
ones when they are opened.

All methods are coroutines. What flows in bulk takes sequences and answers with sequences in the
same order. Any method may raise :class:`~mocra_scrapy.exceptions.BackendUnavailable`; whether it
took effect is then unknown.

The examples run as they stand in ``python -m asyncio``; a test executes each of them. The timelines
show what a rule is for: the race that it decides, step by step.
"""

from typing import TYPE_CHECKING

from mocra_scrapy._lazy import lazily

if TYPE_CHECKING:
    from mocra_scrapy.interfaces.backend import IBackend
    from mocra_scrapy.interfaces.breaker import IBreaker
    from mocra_scrapy.interfaces.budgets import IBudgets
    from mocra_scrapy.interfaces.cache import ICache, ISortedSets
    from mocra_scrapy.interfaces.crawl_record import ICrawlRecord
    from mocra_scrapy.interfaces.dead_letters import IDeadLetters
    from mocra_scrapy.interfaces.dictionaries import IDictionaries
    from mocra_scrapy.interfaces.election import IElection
    from mocra_scrapy.interfaces.events import IEventStream, IEventStreams
    from mocra_scrapy.interfaces.immediate import IImmediateQueue
    from mocra_scrapy.interfaces.limiter import IRateLimiter
    from mocra_scrapy.interfaces.locks import ILocks
    from mocra_scrapy.interfaces.logged import ILoggedQueue
    from mocra_scrapy.interfaces.proxies import IProxies, IProxyPools
    from mocra_scrapy.interfaces.queue import IRequestQueue
    from mocra_scrapy.interfaces.shared import IShared
    from mocra_scrapy.interfaces.stalls import IStalls
    from mocra_scrapy.interfaces.throttle_rules import IThrottleRules
    from mocra_scrapy.interfaces.workers import IWorkers

__all__ = [
    "IBackend",
    "IBreaker",
    "IBudgets",
    "ICache",
    "ICrawlRecord",
    "IDeadLetters",
    "IDictionaries",
    "IElection",
    "IEventStream",
    "IEventStreams",
    "IImmediateQueue",
    "ILocks",
    "ILoggedQueue",
    "IProxies",
    "IProxyPools",
    "IRateLimiter",
    "IRequestQueue",
    "IShared",
    "ISortedSets",
    "IStalls",
    "IThrottleRules",
    "IWorkers",
]

__getattr__ = lazily(
    __name__,
    {
        "backend": "IBackend",
        "breaker": "IBreaker",
        "budgets": "IBudgets",
        "cache": "ICache ISortedSets",
        "crawl_record": "ICrawlRecord",
        "dead_letters": "IDeadLetters",
        "dictionaries": "IDictionaries",
        "election": "IElection",
        "events": "IEventStream IEventStreams",
        "immediate": "IImmediateQueue",
        "limiter": "IRateLimiter",
        "locks": "ILocks",
        "logged": "ILoggedQueue",
        "proxies": "IProxies IProxyPools",
        "queue": "IRequestQueue",
        "shared": "IShared",
        "stalls": "IStalls",
        "throttle_rules": "IThrottleRules",
        "workers": "IWorkers",
    },
)
