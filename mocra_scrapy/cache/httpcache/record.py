"""What is stored for one URL <-> bytes: its responses, compressed, with a checksum.

===========  =========================================================================================
first byte   then
===========  =========================================================================================
``0x01``     CRC-32 of the rest (4 bytes), then a msgpack list: see :func:`pack`
``0x02``     the same, compressed with a dictionary: :mod:`mocra_scrapy.codec.compression`
``0x04``     the same, as a zstd frame
===========  =========================================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from zlib import crc32

import msgpack

from mocra_scrapy.cache.httpcache.messages import Answer, Stored
from mocra_scrapy.codec.compression import COMPRESSED, Dictionary, wanted
from mocra_scrapy.exceptions import UnreadablePayload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN: Final = b"\x01"
FRAME: Final = b"\x04"
LEVEL: Final = 3


def pack(variants: Sequence[Stored], ttl: float, now: float) -> bytes:
    """The responses of one URL, and for how many seconds they are stored: how old they are is worked
    out from what is left of that, by the server's clock, so that no worker's clock has to be right. What
    is written down is how old they were *now*, when they are stored.
    """
    rows = [
        [
            one.status,
            [[name, lines] for name, lines in one.fields.items()],
            one.answer.body,
            one.answer.url,
            dict(one.selecting),
            max(0.0, now - one.received),
            one.took,
            dict(one.extra),
        ]
        for one in variants
    ]
    content: bytes = msgpack.packb([ttl, rows], use_bin_type=True)
    return b"".join((PLAIN, crc32(content).to_bytes(4, "big"), content))


def unpack(payload: bytes, expires_in: float, now: float) -> list[Stored]:
    """What :func:`pack` made, by this process's clock: *now*, when *expires_in* seconds were left.

    Raises:
        UnreadablePayload: damaged, or none of ours.
    """
    content = memoryview(payload)[5:]
    if payload[:1] != PLAIN or crc32(content).to_bytes(4, "big") != payload[1:5]:
        raise UnreadablePayload("damaged or foreign bytes: the checksum is wrong")
    try:
        ttl, rows = msgpack.unpackb(content)
        stored_for = max(0.0, ttl - expires_in)
        return [_variant(row, now - stored_for) for row in rows]
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise UnreadablePayload(f"an entry of another form: {type(error).__name__}: {error}") from error


def _variant(row: list[Any], stored_at: float) -> Stored:
    status, fields, body, url, selecting, older, took, extra = row
    received = stored_at - older
    answer = Answer(status, dict(fields), body, url)
    return Stored(answer, selecting, received - took, received, took, extra)


def compressed(payload: bytes, dictionary: Dictionary | None) -> bytes:
    """What to store of *payload*."""
    if dictionary is not None:
        return dictionary.compress(payload)
    frame = zstd.compress(payload, LEVEL)
    return FRAME + frame if len(frame) < len(payload) else payload


def dictionary_of(stored: bytes) -> int | None:
    """The identity of the dictionary that *stored* needs."""
    return wanted(stored)


def decompressed(stored: bytes, dictionary: Dictionary | None, most: int) -> bytes:
    """The other way round: *most* bytes at most.

    Raises:
        UnreadablePayload: damaged, too large, or its dictionary is missing.
    """
    if stored[:1] == bytes([COMPRESSED]):
        if dictionary is None:
            raise UnreadablePayload("its compression dictionary is not stored any more")
        return dictionary.decompress(stored, most, "MOCRA_HTTPCACHE_ENTRY_MAX_BYTES allows")
    if stored[:1] != FRAME:
        return stored
    try:
        frame = stored[1:]
        size = zstd.get_frame_info(frame).decompressed_size
        if size is None or size > most:
            raise UnreadablePayload(f"{size} bytes when decompressed, more than {most}")
        decompressor = zstd.ZstdDecompressor()
        payload: bytes = decompressor.decompress(frame, size)
    except zstd.ZstdError as error:
        raise UnreadablePayload(f"damaged or foreign bytes: {error}") from error
    if not decompressor.eof or len(payload) != size:
        raise UnreadablePayload("damaged or foreign bytes: an entry that is cut off")
    return payload


def payload_bytes(stored: bytes) -> int:
    """The bytes of what :func:`decompressed` would give, as *stored* says; its own, where it does not."""
    if stored[:1] != FRAME:
        return len(stored)
    try:
        size = zstd.get_frame_info(stored[1:20]).decompressed_size
    except zstd.ZstdError:
        size = None
    return max(size or 0, len(stored))


def body_bytes(variants: Sequence[Stored]) -> int:
    return sum(len(one.answer.body) for one in variants)


def with_extra(stored: Stored, **extra: object) -> Stored:
    """*stored* with more of what the shell keeps beside it."""
    return replace(stored, extra={**stored.extra, **extra})
