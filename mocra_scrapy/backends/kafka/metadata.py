"""What goes with a committed offset: the offsets that are finished ahead of it, as text. Pure.

=========  =======================================================================================
character  ``1``: the version. A later one is not read
base64     CRC-32 of topic, partition, offset and what follows, 4 bytes, big-endian; then, as
           variable-length integers, alternately how many are not finished and how many are, from
           the committed offset on
=========  =======================================================================================

Whoever may commit may write anything there, and a broker gives it back to whoever is the partition's
next reader. So it is untrusted: what is wrong in any way counts for nothing, and nothing beyond the end
of the log, as it is read, is ever taken as finished. Ignoring it repeats requests, and loses none.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from mocra_scrapy.backends.kafka.offsets import Runs

VERSION = "1"
#: Characters that a broker takes (``offset.metadata.max.bytes`` is 4096, and one is too many).
MOST = 4095
#: Bytes that they hold, without version and checksum.
ROOM = (MOST - len(VERSION)) // 4 * 3 - 4
#: The part of it from which on no more may get out of order.
CAREFUL = 0.75
#: Bytes of a number at most: offsets have 63 bits.
_LONGEST = 9


class Kept(NamedTuple):
    """Attributes:
    text: for the commit.
    dropped: offsets that found no room; they are finished and will be repeated if this is all
        that is left.
    """

    text: str
    dropped: int


class Told(NamedTuple):
    """Attributes:
    finished: ahead of the committed offset, below the end of the log.
    problem: why something, or all of it, counts for nothing; empty: nothing is wrong.
    """

    finished: Runs
    problem: str = ""


def encode(topic: str, partition: int, offset: int, ahead: Runs) -> Kept:
    """*ahead*: all are beyond *offset*. Where there is no room for all, the first ones are kept."""
    packed, last, dropped = bytearray(), offset, 0
    for first, end in ahead:
        pair = _number(first - last) + _number(end - first)
        if dropped or len(packed) + len(pair) > ROOM:
            dropped += end - first
        else:
            packed += pair
            last = end
    if not packed:
        return Kept("", dropped)
    checked = _checksum(topic, partition, offset, bytes(packed)) + packed
    return Kept(VERSION + base64.b64encode(checked).decode("ascii"), dropped)


def fill(offset: int, ahead: Runs) -> float:
    """Which part of the room *ahead* takes; more than 1: not all of it fits."""
    size, last = 0, offset
    for first, end in ahead:
        size += _length(first - last) + _length(end - first)
        last = end
    return size / ROOM


def decode(text: str | None, topic: str, partition: int, offset: int, end: int) -> Told:
    """What *text*, found beside the committed *offset*, says; *end*: of the log."""
    if not text:
        return Told(Runs())
    try:
        runs = Runs(_runs(offset, _checked(text, topic, partition, offset)))
    except ValueError as error:
        return Told(Runs(), str(error))
    known = runs.clipped(offset, max(offset, end))
    if known.count != runs.count:
        return Told(known, f"{runs.count - known.count} offsets of it are beyond the end of the log, {end}")
    return Told(known)


def _checked(text: str, topic: str, partition: int, offset: int) -> bytes:
    """The numbers, as they were packed.

    Raises:
        ValueError: says why it can't be read.
    """
    if len(text) > MOST:
        raise ValueError(f"{len(text)} characters are more than {MOST}")
    if text[0] != VERSION:
        raise ValueError(f"it is of version {text[0]!r}, or not ours: this program reads version {VERSION}")
    try:
        raw = base64.b64decode(text[1:].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("it is damaged, or not ours") from None
    if base64.b64encode(raw).decode("ascii") != text[1:]:  # base64 has bits that say nothing
        raise ValueError("it is damaged, or not ours")
    if raw[:4] != _checksum(topic, partition, offset, raw[4:]):
        raise ValueError("its checksum is wrong: it is damaged, or of another offset")
    return raw[4:]


def _runs(offset: int, packed: bytes) -> Iterator[tuple[int, int]]:
    numbers = list(_numbers(packed))
    if not numbers or len(numbers) % 2:
        raise ValueError("a run has no end")
    at = offset
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        if not gap or not length:
            raise ValueError("a run is empty")
        yield at + gap, at + gap + length
        at += gap + length


def _numbers(packed: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in packed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            if shift >= 7 * _LONGEST:
                raise ValueError("a number is too large")
            continue
        yield value
        value = shift = 0
    if shift:
        raise ValueError("it is cut off")


def _number(value: int) -> bytes:
    packed = bytearray()
    while value >= 0x80:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def _length(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7)


def _checksum(topic: str, partition: int, offset: int, packed: bytes) -> bytes:
    return zlib.crc32(packed, zlib.crc32(f"{topic} {partition} {offset} ".encode())).to_bytes(4, "big")
