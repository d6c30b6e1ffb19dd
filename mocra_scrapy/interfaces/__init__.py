"""The contracts, as rules that can be tested.

Each rule carries a name in brackets; the conformance suite (``tests/conformance``) has a test with
that name, and every backend passes all of them. A backend says ``@implementer(IRequestQueue)``;
mypy-zope checks it statically and :func:`mocra_scrapy.backends.open_backend` checks third-party
ones when they are opened.

All methods are coroutines. What flows in bulk takes sequences and answers with sequences in the
same order. Any method may raise :class:`~mocra_scrapy.exceptions.BackendUnavailable`; whether it
took effect is then unknown.
"""

from mocra_scrapy.interfaces.backend import IBackend
from mocra_scrapy.interfaces.breaker import IBreaker
from mocra_scrapy.interfaces.coordination import IElection, ILocks, IShared, IWorkers
from mocra_scrapy.interfaces.dead_letters import IDeadLetters
from mocra_scrapy.interfaces.dictionaries import IDictionaries
from mocra_scrapy.interfaces.limiter import IRateLimiter
from mocra_scrapy.interfaces.queue import IRequestQueue

__all__ = [
    "IBackend",
    "IBreaker",
    "IDeadLetters",
    "IDictionaries",
    "IElection",
    "ILocks",
    "IRateLimiter",
    "IRequestQueue",
    "IShared",
    "IWorkers",
]
