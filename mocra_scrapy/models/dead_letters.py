"""Dead letters: what was given up, with its reason. Crosses
:class:`~mocra_scrapy.interfaces.IDeadLetters` and ``exchange``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mocra_scrapy.models.queue import Lease

#: Bytes that the store needs beside a response and its kind: they count for
#: :attr:`~mocra_scrapy.models.QueueOptions.dead_bodies_bytes`, too.
RESPONSE_OVERHEAD = 256

#: Every reason that the suite itself gives. ``docs/reference/dead-letters`` says more.
REASONS = {
    "callback": "an exception left its callback or errback",
    "callback_timeout": "its callback, or a pipeline behind it, did not return in time",
    "child_lost": "a request that it yielded could neither be stored nor kept",
    "deliveries": "too many workers died while they held it",
    "download": "its download failed, was not to be retried, and no errback took it",
    "item": "a pipeline failed on an item of it",
    "offsite": "the worker's offsite filter dropped it, that of whoever stored it did not",
    "retry": "its retries were used up",
    "seed": "it came from a source of seeds, and is no request of this spider",
    "stalled": "its slot was given up: nothing of it succeeded any more",
    "unreadable": "its bytes are not a request of this spider",
}


@dataclass(frozen=True, slots=True)
class Burial:
    """A worker's wish to give an entry up: it becomes a dead letter.

    Attributes:
        lease: what it holds.
        reason: one word, of :data:`REASONS` or of your own.
        detail: for a person: the error, a traceback. The caller bounds it.
        done: the request counts as done all the same; the letter is a *record* of what went wrong.
        body: what a replay puts back; ``None``: what was leased.
        url, fingerprint: of the request, where they are known.
        retries: how often it was put back into the queue because it had failed.
        first_failed_at: when it first failed, seconds since the epoch by the worker's clock;
            ``None``: now.
        kind: of its failure: the first responses of each kind are kept.
        response: what the site answered, encoded, opaque to the queue; ``None``: it is not offered.
    """

    lease: Lease
    reason: str
    detail: str = ""
    done: bool = False
    body: bytes | None = field(default=None, repr=False)
    url: str = ""
    fingerprint: bytes | None = None
    retries: int = 0
    first_failed_at: float | None = None
    kind: str = ""
    response: bytes | None = field(default=None, repr=False)

    @property
    def response_bytes(self) -> int:
        """About what it adds to a message."""
        return len(self.response or b"")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry that was given up, or the record of what went wrong with one that is done.

    Attributes:
        id: opaque, for :meth:`~mocra_scrapy.interfaces.IDeadLetters.replay` and ``purge``.
        deliveries: hand-outs it had, the last one included.
        worker: who held it last.
        died_at: server clock, seconds since the epoch.
        first_lost_at, scopes: as in :class:`Lease`.
        done, url, fingerprint, retries: as in :class:`Burial`; unknown for what the queue itself
            gave up.
        first_failed_at: when it first failed or was first lost, as far as anybody knows;
            ``died_at`` at the latest.
        delivery: the same for all letters of one delivery: what failed of one hand-out of a request.
    """

    id: str
    reason: str
    detail: str
    body: bytes = field(repr=False)
    slot: str = ""
    priority: int = 0
    start: bool = False
    deliveries: int = 0
    worker: str = ""
    died_at: float = 0.0
    first_lost_at: float | None = None
    scopes: tuple[str, ...] = ()
    done: bool = False
    url: str = ""
    fingerprint: bytes | None = None
    retries: int = 0
    first_failed_at: float = 0.0
    delivery: str = ""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters are meant; a letter must fit all that is given.

    Attributes:
        reason, slot: exactly these; ``None``: any.
        since, until: died at this time or later, before this time; seconds since the epoch, server
            clock.
        done: only records (``True``) or only what is not done (``False``); ``None``: both.
    """

    reason: str | None = None
    slot: str | None = None
    since: float | None = None
    until: float | None = None
    done: bool | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Whether *letter* is meant."""
        return (
            self.reason in (None, letter.reason)
            and self.slot in (None, letter.slot)
            and (self.since is None or letter.died_at >= self.since)
            and (self.until is None or letter.died_at < self.until)
            and self.done in (None, letter.done)
        )


#: All of them.
EVERY_LETTER = LetterFilter()


def first_failure(died_at: float, *known: float | None) -> float:
    """The earliest of what is known about when it began."""
    return min([died_at, *(at for at in known if at is not None)])
