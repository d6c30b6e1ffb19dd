"""Payloads <-> what is stored: zstd with a dictionary that was made of the crawl's own requests.

Layout of a compressed payload: ``0x02``, the dictionary's identity (2 bytes), a zstd frame without
its first four bytes (always the same) that tells its size. Inside is a payload of
:mod:`mocra_scrapy.codec.requests`. Each stands alone; what is stored of it is about a third.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from mocra_scrapy.exceptions import UnreadablePayload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSED = 0x02
MAGIC = b"\x28\xb5\x2f\xfd"
#: 8 KiB: larger ones save a byte more and take longer to load. Level 3: higher ones save nothing on
#: payloads of 100 bytes.
SIZE, LEVEL = 8192, 3
#: A new dictionary must make what is stored smaller by a tenth.
WORTH = 0.9


def identity_of(content: bytes) -> int:
    """What a dictionary is called, from 0 to 65,535: made of its content, so that no two workers
    mean different ones by one name.
    """
    return int.from_bytes(hashlib.blake2b(content, digest_size=2).digest(), "big")


class Dictionary:
    """One dictionary, ready to use.

    Raises:
        UnreadablePayload: *content* is none.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.identity = identity_of(content)
        self._head = bytes([COMPRESSED]) + self.identity.to_bytes(2, "big")
        try:
            self._dictionary = zstd.ZstdDict(content)
            options: dict[int, int] = {
                zstd.CompressionParameter.compression_level: LEVEL,
                zstd.CompressionParameter.dict_id_flag: 0,  # ours says the same in two bytes
                zstd.CompressionParameter.checksum_flag: 0,
                zstd.CompressionParameter.content_size_flag: 1,
            }
            self._compressor = zstd.ZstdCompressor(options=options, zstd_dict=self._dictionary.as_digested_dict)
        except (ValueError, zstd.ZstdError) as error:
            raise UnreadablePayload(f"a compression dictionary that is none: {error}") from error
        self._whole_frame = self._compressor.FLUSH_FRAME

    def compress(self, payload: bytes) -> bytes:
        """What to store for *payload*: itself, if it gets no smaller. The same payload gives the
        same bytes.
        """
        stored = self._head + self._compressor.compress(payload, self._whole_frame)[len(MAGIC) :]
        return stored if len(stored) < len(payload) else payload

    def decompress(self, stored: bytes, most: int, bound: str = "MOCRA_ENTRY_MAX_BYTES") -> bytes:
        """The payload. *bound*: what gives *most*.

        Raises:
            UnreadablePayload: damaged, or it says that it is larger than *most* bytes; then nothing
                is decoded.
        """
        frame = MAGIC + stored[3:]
        try:
            size = zstd.get_frame_info(frame).decompressed_size
            if size is None or size > most:
                raise UnreadablePayload(f"{size} bytes when decompressed, more than {bound} = {most}")
            decompressor = zstd.ZstdDecompressor(zstd_dict=self._dictionary)
            payload: bytes = decompressor.decompress(frame, size)
        except zstd.ZstdError as error:
            raise UnreadablePayload(f"damaged or foreign bytes: {error}") from error
        if not decompressor.eof or len(payload) != size or decompressor.unused_data:
            raise UnreadablePayload("damaged or foreign bytes: a compressed payload that is cut off or too long")
        return payload


def wanted(stored: bytes) -> int | None:
    """The identity of the dictionary that *stored* needs; ``None``: it is not compressed."""
    if len(stored) < 3 or stored[0] != COMPRESSED:
        return None
    return int.from_bytes(stored[1:3], "big")


def train(samples: Sequence[bytes], current: Dictionary | None, size: int = SIZE) -> Dictionary | None:
    """A dictionary of *size* bytes that makes payloads like *samples* smaller by a tenth than *current*
    does; ``None``: none does.

    Takes 10 to 30 ms; gives the interpreter free meanwhile, so that a thread doing this doesn't
    hold up the event loop.
    """
    learned = [sample for i, sample in enumerate(samples) if i % 4]
    held_back = samples[::4]  # judged by what it did not see
    try:
        made = Dictionary(zstd.train_dict(learned, size).dict_content)
    except (ValueError, zstd.ZstdError):
        return None  # too few or too much alike
    before = sum(len(sample if current is None else current.compress(sample)) for sample in held_back)
    return made if sum(len(made.compress(sample)) for sample in held_back) <= WORTH * before else None


class PayloadReader:
    """Payloads of what is stored, for who only looks: whatever dictionaries were loaded."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[int, Dictionary] = {}

    def lacks(self, stored: Iterable[bytes]) -> bool:
        """Whether some of *stored* needs a dictionary that was not loaded."""
        return bool({wanted(one) for one in stored} - self._known.keys() - {None})

    def load(self, contents: Mapping[int, bytes]) -> None:
        for identity, content in contents.items():
            if identity not in self._known:
                with suppress(UnreadablePayload):
                    self._known[identity] = Dictionary(content)

    def payload(self, stored: bytes) -> bytes:
        """The payload; *stored* itself where it is not compressed or can't be read."""
        dictionary = self._known.get(identity) if (identity := wanted(stored)) is not None else None
        if dictionary is None:
            return stored
        try:
            return dictionary.decompress(stored, self._most)
        except UnreadablePayload:
            return stored
