"""What a worker found and did not crawl: how much, why, of which slots, and a few URLs of each.

Known links are only counted, without slot and URL: nine of ten links are known. A dead letter is none of
this: it is listed with everything about it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mocra_scrapy.models.wording import counted

#: URLs kept of a reason and slot, and how long they are.
SAMPLES, LENGTH = 3, 300
#: Pairs of reason and slot that are counted each by itself; the rest of a reason is counted together.
PAIRS = 200
#: The slot of the rest.
REST = "(other slots)"


@dataclass(slots=True)
class Skipped:
    """Of one reason and slot. *samples* are URLs, each drawn with the same chance."""

    count: int = 0
    samples: list[str] = field(default_factory=list)


#: Reason -> slot -> what was skipped; the slot "" stands for all of them.
Table = Mapping[str, Mapping[str, Skipped]]


class NotCrawled:
    """The table of one worker.

    Args:
        shown: a URL as people may see it: without secrets.
    """

    def __init__(self, shown: Callable[[str], str], dice: random.Random | None = None) -> None:
        self.table: dict[str, dict[str, Skipped]] = {}
        self._shown, self._dice = shown, dice or random.Random()  # noqa: S311 - samples
        self._pairs = 0
        self._packed: bytes | None = None

    def note(self, reason: str, slot: str, url: str, number: int = 1) -> None:
        """One more, or *number* of which *url* is an example (empty: there is none). Costs a look into a
        table, and a URL's masking for few of many.
        """
        if not number:
            return
        slots = self.table.setdefault(reason, {})
        found = slots.get(slot)
        if found is None:
            if self._pairs >= PAIRS:
                slot = REST
            self._pairs += slot not in slots
            found = slots.setdefault(slot, Skipped())
        found.count += number
        self._packed = None
        if not url:
            return
        if len(found.samples) < SAMPLES:
            found.samples.append(self._shown(url)[:LENGTH])
        elif (place := self._dice.randrange(found.count)) < SAMPLES:
            found.samples[place] = self._shown(url)[:LENGTH]

    def count(self, reason: str, number: int) -> None:
        """So many in all, of whatever slots: what would be too dear to note one by one."""
        if number and self.table.get(reason, {}).get("", Skipped()).count != number:
            self.table[reason] = {"": Skipped(number)}
            self._packed = None

    @property
    def has_examples(self) -> bool:
        """Whether anything was noted, beside what is only counted."""
        return self._pairs > 0

    def pack(self) -> bytes:
        """For the store; the same object as before as long as nothing is new."""
        if self._packed is None:
            plain = {
                reason: {slot: [found.count, found.samples] for slot, found in slots.items()}
                for reason, slots in self.table.items()
            }
            self._packed = json.dumps(plain, ensure_ascii=False).encode()
        return self._packed


def unpack(data: bytes | None) -> Table:
    """Of one worker; empty where none of us wrote that."""
    try:
        return {
            str(reason): {
                str(slot): Skipped(int(count), [str(url) for url in samples])
                for slot, (count, samples) in slots.items()
            }
            for reason, slots in json.loads(data or b"{}").items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def merged(tables: Iterable[Table], dice: random.Random | None = None) -> Table:
    """Added up. Of two workers' samples those of who skipped more are the more likely ones."""
    dice = dice or random.Random()  # noqa: S311 - samples
    whole: dict[str, dict[str, list[Skipped]]] = {}
    for table in tables:
        for reason, slots in table.items():
            for slot, found in slots.items():
                whole.setdefault(reason, {}).setdefault(slot, []).append(found)
    return {reason: {slot: _together(parts, dice) for slot, parts in slots.items()} for reason, slots in whole.items()}


def _together(parts: list[Skipped], dice: random.Random) -> Skipped:
    # Efraimidis and Spirakis: the largest of u ** (1 / weight), where a sample weighs what it stands for.
    weighed = [(dice.random() ** (len(one.samples) / max(1, one.count)), url) for one in parts for url in one.samples]
    return Skipped(sum(one.count for one in parts), [url for _, url in sorted(weighed, reverse=True)[:SAMPLES]])


def ranked(slots: Mapping[str, Skipped]) -> list[tuple[str, Skipped]]:
    """The slots of a reason, that with the most first."""
    return sorted(slots.items(), key=lambda one: (-one[1].count, one[0]))


def examples(table: Table, slots: int = 3) -> list[str]:
    """A line for each reason: the slots with the most, and a URL."""
    told = []
    for reason, found in sorted(table.items()):
        first = [(slot, one) for slot, one in ranked(found) if slot]
        if not first:
            continue
        named = ", ".join(f"{slot} {one.count:,}" for slot, one in first[:slots])
        more = f" and {counted(len(first) - slots, 'more slot')}" if len(first) > slots else ""
        told.append(f"{reason}: {named}{more}, for example {first[0][1].samples[0]}" if first[0][1].samples else named)
    return told
