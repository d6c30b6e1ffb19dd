"""A request as a message of the log, and back. Pure.

Its value is the request as it was encoded, its key the slot. Headers have the rest, each only where it
says something:

============  ====================================================================================
``mocra``     version of this table, ``1``; a message without it is none of ours
``priority``  a number
``start``     ``1``: it comes from ``start()``
``scopes``    as JSON
``budgets``   as JSON
``again``     ``1``: no budget counts it as new
``run``       the run of the crawl, and ``born`` its record
``due``       epoch seconds before which it is not to be handed out
``filtered``  its fingerprint, where somebody may want the filter to forget it
``transit``   as what it was in transit: the token, a space, its pusher
============  ====================================================================================

Anybody may write to a topic: what is read is untrusted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from mocra_scrapy.backends.kafka.log_names import DELAYS, LogPartition, partition_of, tier_of
from mocra_scrapy.backends.kafka.log_values import LogRecord, Outgoing, Raw, Unreadable
from mocra_scrapy.models import MAX_PRIORITY, MIN_PRIORITY, Entry, Transit

VERSION = b"1"
#: Bytes of a header, and scopes or budgets of a request, at most.
LONGEST_HEADER, MOST_NAMES = 65_536, 1000
#: Bytes of a worker's name and a token, at most.
LONGEST_NAME = 4096
#: Seconds that a delay may be: a damaged header must not hide a request for ever.
LONGEST_DELAY = 10 * 366 * 86_400.0


def place_of(outgoing: Outgoing, partitions: int, now: float) -> LogPartition:
    """Where it belongs. *now*: epoch seconds."""
    entry = outgoing.entry
    delay = entry.delay if outgoing.due is None else outgoing.due - now
    return LogPartition(tier_of(entry.priority, delay), partition_of(entry.slot, partitions))


def message_of(outgoing: Outgoing, now: float) -> dict[str, Any]:
    """What ``produce()`` takes, without topic and partition."""
    entry = outgoing.entry
    headers: list[tuple[str, bytes]] = [("mocra", VERSION)]
    if entry.priority:
        headers.append(("priority", b"%d" % entry.priority))
    if entry.start:
        headers.append(("start", b"1"))
    if entry.scopes:
        headers.append(("scopes", json.dumps(entry.scopes).encode()))
    if entry.budgets:
        headers.append(("budgets", json.dumps(entry.budgets).encode()))
    if entry.again:
        headers.append(("again", b"1"))
    if outgoing.run:
        headers += [("run", b"%d" % outgoing.run), ("born", b"%d" % outgoing.born)]
    due = now + entry.delay if outgoing.due is None and entry.delay > 0 else outgoing.due
    if due is not None:
        headers.append(("due", repr(due).encode()))
    if outgoing.fingerprint is not None:
        headers.append(("filtered", outgoing.fingerprint))
    if outgoing.transit is not None:
        pusher, token = outgoing.transit
        headers.append(("transit", f"{token} {pusher}".encode("utf-8", "surrogatepass")))
    return {
        "value": entry.body,
        "key": entry.slot.encode("utf-8", "surrogatepass"),
        "headers": headers,
        "timestamp": int(now * 1000),  # tiers of delay go by it
    }


def read_message(place: LogPartition, raw: Raw, now: float) -> LogRecord | Unreadable:
    """The request in a message. *now*: epoch seconds, for what is left of a delay."""
    try:
        found = {str(name): data or b"" for name, data in raw.headers or ()}
        entry = _entry(raw, found, now)
        transit = _transit(found.get("transit"))
        run, born = _whole(found.get("run", b"0")), _whole(found.get("born", b"0"))
    except (ValueError, RecursionError) as error:  # not UTF-8, no JSON: ValueErrors as well
        return Unreadable(place, raw.offset, str(error), raw.value or b"", (raw.key or b"").decode(errors="replace"))
    return LogRecord(place, raw.offset, entry, run, born, raw.size, found.get("filtered"), transit)


def _entry(raw: Raw, found: Mapping[str, bytes], now: float) -> Entry:
    """Raises ValueError: it is none."""
    if "mocra" not in found:
        raise ValueError("it was not written by this program: it has no header 'mocra'")
    if found["mocra"] != VERSION:
        raise ValueError(f"it is of version {found['mocra'][:20]!r}, this program reads {VERSION.decode()}")
    if raw.value is None:
        raise ValueError("it has no value")
    return Entry(
        raw.value,
        (raw.key or b"").decode("utf-8", "surrogatepass"),
        min(max(_whole(found.get("priority", b"0")), MIN_PRIORITY), MAX_PRIORITY),
        start=found.get("start") == b"1",
        delay=min(max(0.0, _real(found["due"]) - now), LONGEST_DELAY) if "due" in found else 0.0,
        scopes=_names(found.get("scopes")),
        budgets=_names(found.get("budgets")),
        again=found.get("again") == b"1",
    )


def ready_at(place: LogPartition, written: float) -> float:
    """Epoch seconds at which a message that was *written* then may be taken from the log."""
    return written + DELAYS.get(place.tier, 0.0)


def _whole(data: bytes) -> int:
    if len(data) > 20 or not data.removeprefix(b"-").isdigit():
        raise ValueError(f"{data[:20]!r} is no number")
    return int(data)


def _real(data: bytes) -> float:
    value = float(data[:40])
    if not math.isfinite(value):
        raise ValueError(f"{data[:20]!r} is no time")
    return value


def _transit(data: bytes | None) -> Transit | None:
    if data is None:
        return None
    token, _, pusher = data.decode("utf-8", "surrogatepass").partition(" ")
    if len(data) > LONGEST_NAME or not token or not pusher:
        raise ValueError("a header does not say who pushed it")
    return pusher, token


def _names(data: bytes | None) -> tuple[str, ...]:
    if data is None:
        return ()
    if len(data) > LONGEST_HEADER:
        raise ValueError(f"a header of {len(data)} bytes")
    names = json.loads(data)
    if not isinstance(names, list) or len(names) > MOST_NAMES or not all(isinstance(name, str) for name in names):
        raise ValueError("a header is no list of names")
    return tuple(names)
