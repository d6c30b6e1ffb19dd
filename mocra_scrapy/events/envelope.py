"""What stands around an event: who tells it, when, its number. And how it becomes JSON."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mocra_scrapy.models.redaction import redact, redact_url

if TYPE_CHECKING:
    from mocra_scrapy.events.records import Event

#: Version of what a record looks like.
SCHEMA = 1
#: Characters of a text in a record, at most; of longer ones the beginning.
TEXT = 2000

_WORD = re.compile(r"\S*://\S*")


@dataclass(frozen=True, slots=True)
class Source:
    """Who tells it.

    Attributes:
        worker: its name; of a runner of ``scrapy cron``, the runner's.
        crawl, spider: ``None`` where it is of none.
    """

    worker: str
    project: str | None = None
    crawl: str | None = None
    spider: str | None = None


@dataclass(slots=True)
class Record:
    """An event and what stands around it.

    Attributes:
        time: seconds since the epoch.
        number: of this source's records; the next one's is greater by one, so that a reader sees
            what was dropped.
        run: of the crawl.
        sample: which part of such events is told.
    """

    event: Event
    source: Source
    number: int
    time: float
    run: int | None = None
    sample: float = 1.0
    _encoded: bytes = b""

    @property
    def id(self) -> str:
        """The same wherever, and however often, it arrives."""
        return f"{self.source.worker}:{self.number}"

    @property
    def encoded(self) -> bytes:
        """As JSON, without secrets of URLs. Worked out once."""
        if not self._encoded:
            self._encoded = json.dumps(self.told(), ensure_ascii=False, separators=(",", ":"), default=repr).encode(
                "utf-8", "replace"
            )
        return self._encoded

    def told(self) -> dict[str, Any]:
        """What a reader gets, see ``docs/reference/events``."""
        source = self.source
        return {
            "schema": SCHEMA,
            "id": self.id,
            "event": self.event.name,
            "time": stamp(self.time),
            "project": source.project,
            "crawl": source.crawl,
            "run": self.run,
            "spider": source.spider,
            "worker": source.worker,
            "number": self.number,
            "sample": self.sample,
            "data": data_of(self.event),
        }


def data_of(event: Event) -> dict[str, Any]:
    """Its fields, bounded and without secrets."""
    return {spec.name: _shown(spec.name, getattr(event, spec.name)) for spec in fields(event)}


def _shown(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return (redact_url(value) if name == "url" else redact_text(value))[:TEXT]


def stamp(seconds: float) -> str:
    """``2026-11-29T11:30:00.123456Z``."""
    whole = int(seconds)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((seconds - whole) * 1_000_000):06d}Z"


def redact_text(text: str) -> str:
    """*text* with the secrets of all URLs in it masked: user information, and what a query calls a
    password, secret, token or key.
    """
    return _WORD.sub(lambda word: redact_url(word[0]), redact(text))
