"""What the reader and the writer of a crawl's log give and take."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mocra_scrapy.backends.kafka.log_names import LogPartition
from mocra_scrapy.backends.kafka.offsets import Runs
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import Entry, Transit

# ------------------------------------------------------------------ writing


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request for the log.

    Attributes:
        token: stands for it as long as the writer knows it: writing the same one again only waits.
        run, born: the crawl's record in whose course it was made.
        due: epoch seconds before which it is not to be handed out; ``None``: *entry*'s delay, from now.
        fingerprint: goes with it; *entry*'s own does not, because what is in the log has passed the filter.
        transit: as what it is in transit in the window.
    """

    token: Hashable
    entry: Entry
    run: int = 0
    born: int = 0
    due: float | None = None
    fingerprint: bytes | None = None
    transit: Transit | None = None


class Written(NamedTuple):
    """It is stored by all in-sync replicas."""

    partition: LogPartition
    offset: int


class Refused(NamedTuple):
    """It will be refused whenever it is written."""

    reason: str


# ------------------------------------------------------------------ reading

Headers = Sequence[tuple[str, bytes | None]]


class Raw(NamedTuple):
    """A message as it was read. *written*: epoch seconds."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None = None
    written: float = 0.0

    @property
    def size(self) -> int:
        """Bytes of it, with those of headers."""
        around = sum(len(name) + len(data or b"") for name, data in self.headers or ())
        return len(self.value or b"") + len(self.key or b"") + around


class Marks(NamedTuple):
    """Where a partition stands.

    Attributes:
        first: the oldest offset that is there. *end*: behind the newest.
        committed: by the group; ``None``: nothing was.
        finished: ahead of it, as its metadata say, clipped to what is there.
        problem: why metadata were ignored, all or in part.
    """

    first: int
    end: int
    committed: int | None = None
    finished: Runs = Runs()
    problem: str = ""


class Start(NamedTuple):
    """Attributes:
    offset: of the first message to be read.
    skip: finished ones, which are not given.
    """

    offset: int
    skip: Runs = Runs()


class Commit(NamedTuple):
    """Attributes:
    offset: all below it are finished.
    finished: ahead of it.
    """

    offset: int
    finished: Runs = Runs()


class Gap(NamedTuple):
    """A partition does not have what is to be read.

    Attributes:
        kind: ``"deleted"``: messages from *position* to *first* are gone, and it is read from *first*
            on; ``"beyond"``: its end is before *position* (it was truncated, or made anew), and
            nothing is read; ``"again"``: brokers said that it does not have *position*, and now it does;
            ``"not ours"``: another worker reads it.
    """

    kind: Literal["deleted", "beyond", "again", "not ours"]
    position: int
    first: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A message that is a request.

    Attributes:
        entry: with what is left of its delay, and without its fingerprint.
        size: bytes of the message.
        fingerprint, transit: as they were given to the writer.
    """

    partition: LogPartition
    offset: int
    entry: Entry
    run: int = 0
    born: int = 0
    size: int = 0
    fingerprint: bytes | None = None
    transit: Transit | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that is none of ours, or damaged. *slot*: its key, as far as it is one."""

    partition: LogPartition
    offset: int
    reason: str
    value: bytes = field(repr=False)
    slot: str = ""


@dataclass(frozen=True, slots=True)
class LogBatch:
    """What lies from *start* to below *next*, but for what is to be skipped. In order."""

    partition: LogPartition
    start: int
    next: int
    records: tuple[LogRecord, ...]
    unreadable: tuple[Unreadable, ...] = ()


# ------------------------------------------------------------------ news of a reader


@dataclass(frozen=True, slots=True)
class Assigned:
    """These are this worker's now. Nothing of them is read before ``begin()``."""

    partitions: Mapping[LogPartition, Marks]


@dataclass(frozen=True, slots=True)
class Revoked:
    """These go to others, as soon as ``release()`` gives them free, or at *deadline* (monotonic)."""

    partitions: frozenset[LogPartition]
    deadline: float


@dataclass(frozen=True, slots=True)
class Lost:
    """These are others' already: nothing of them can be committed any more."""

    partitions: frozenset[LogPartition]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Truncated:
    """What was to be read next is not there. Nothing of it is read until ``begin()``."""

    partition: LogPartition
    gap: Gap


@dataclass(frozen=True, slots=True)
class Grown:
    """A topic has another number of partitions: slots are in other ones from now on."""

    tier: str
    before: int
    now: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """The reader can't read, and goes on trying. Told once for each reason."""

    error: MocraError


@dataclass(frozen=True, slots=True)
class Recovered:
    """It reads again."""


News = Assigned | Revoked | Lost | Truncated | Grown | Trouble | Recovered
