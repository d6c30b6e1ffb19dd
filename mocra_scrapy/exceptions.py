"""What can go wrong, as types.

::

    MocraError
    ├── ConfigurationError      a setting, argument or file is wrong; the text names it and the fix
    │   ├── NotSupported        this backend can't do that; the text names one that can
    │   └── OtherJob            a crawl that is not finished is of another job; the text says what differs
    ├── CallbackTimeout         a callback, or a pipeline behind it, did not return within MOCRA_CALLBACK_TIMEOUT
    ├── LockError               a lock of coordination
    │   ├── LockLost            it was lost while it was held; what was done since may have met another owner's work
    │   └── LockTimeout         it was not free in time
    ├── BackendError            the server behind a backend
    │   ├── BackendUnavailable  no answer: away, refusing, restarting, failing over. Worth repeating
    │   └── BackendCorrupted    an answer that makes no sense: foreign or damaged data
    ├── SinkError               where items are stored
    │   ├── SinkUnavailable     no answer, or not now. Worth repeating
    │   └── ItemRefused         this item can't be stored, now or later; the text says why
    └── CodecError              a request <-> bytes
        ├── UnserializableRequest   this request can't be stored; the text says which part and why
        └── UnreadablePayload       these bytes are no request of ours; the text says why
            ├── NotReadableYet      what is needed to read them is missing, and may come back
            └── UnreadableSeed      they came from outside, and are no request

A lost lease is not here: it is an ordinary answer (``False``), see
:class:`~mocra_scrapy.interfaces.IRequestQueue`. Errors of client libraries never cross a backend's
border: they are translated, with ``from``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class MocraError(Exception):
    """Base class of every error that mocra_scrapy raises on purpose."""


class ConfigurationError(MocraError):
    """A setting, argument or file is wrong.

    Args:
        subject: what is wrong: a setting's name, a file and line, a URL without its password.
        problem: what is wrong with it.
        fix: what to write instead.
    """

    def __init__(self, subject: str, problem: str, fix: str) -> None:
        super().__init__(f"{subject}: {problem}. {fix}")
        self.subject = subject
        self.problem = problem
        self.fix = fix


class NotSupported(ConfigurationError):
    """The chosen backend can't do what was asked; the text names a backend or setting that can."""


class CallbackTimeout(MocraError):
    """A callback or errback, or a middleware or pipeline behind it, did not return in time. Never
    raised: ``spider_error`` tells of it. The text says which, of what page, and where it waits.
    """


class OtherJob(ConfigurationError):
    """A crawl that is not finished is of another project, spider or arguments."""


class LockError(MocraError):
    """A lock could not be got, or was lost."""


class LockLost(LockError):
    """The lock was lost while its body ran: by a pause or an outage longer than its time to live.
    The body was cancelled.
    """


class LockTimeout(LockError):
    """The lock was not free within the time that its caller would wait."""


class BackendError(MocraError):
    """The server behind a backend failed."""


class BackendUnavailable(BackendError):
    """The server gave no (usable) answer. Whether the call took effect is unknown: repeat it with
    the same call number.
    """


class BackendCorrupted(BackendError):
    """The server answered with something that none of our writers can have written."""


class SinkError(MocraError):
    """What a pipeline writes to failed."""


class SinkUnavailable(SinkError):
    """The sink gave no (usable) answer, or can't serve now. Whether the write took effect may be
    unknown: repeat it.
    """


class ItemRefused(SinkError):
    """An item can't be stored, however often it is tried. Of several items written together: one of
    them at least.

    Args:
        reason: what is wrong, with the field, and what to do.
        which: positions of the items that are refused, with the reason of each; the others are
            not stored. ``None``: not known, look for them.
    """

    def __init__(self, reason: str, which: Mapping[int, str] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.which = reason, which


class CodecError(MocraError):
    """A request could not be turned into bytes, or back."""


class UnserializableRequest(CodecError):
    """This request can't be stored outside this process; the text names the part of it and the
    reason.

    Args:
        reason: what can't be stored, why, and what to do.
        part: where, for counting: ``callback``, ``meta/<key>``, ``size``, …
    """

    def __init__(self, reason: str, part: str = "request") -> None:
        super().__init__(reason)
        self.part = part


class UnreadablePayload(CodecError):
    """These bytes can't be turned into a request of this spider; the text says why."""


class NotReadableYet(UnreadablePayload):
    """What is needed to read these bytes is missing, and may come back."""


class UnreadableSeed(UnreadablePayload):
    """What a source of seeds gave is no request of this spider; the text says why."""
