"""Payloads of one namespace <-> what is stored of them: zstd, with a dictionary that was made of the
namespace's own payloads.

Layout: ``0x01`` and the payload; or ``0x02``, the dictionary's identity and a frame, see
:mod:`mocra_scrapy.codec.compression`; or ``0x04`` and a frame without a dictionary, both without the
four bytes that all frames begin with.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.codec.compression import COMPRESSED, LEVEL, MAGIC, WORTH, Dictionary, wanted
from mocra_scrapy.exceptions import MocraError, UnreadablePayload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mocra_scrapy.interfaces import IShared

logger = logging.getLogger(__name__)

PLAIN, ALONE = b"\x01", b"\x04"
#: Payloads below so many bytes are stored as they are.
SHORTEST = 1024
#: Bytes from which on work is done in a thread: the loop would stand for a millisecond and more.
LARGE = 131_072
#: A dictionary: its bytes; of how many payloads it is made, of what length at most.
SIZE, SAMPLES, LONGEST = 32_768, 200, 32_768
#: Seconds after which it is looked at whether the dictionary is still stored, and for which one that is
#: missing is not looked for again.
CHECK, MISSING = 60.0, 5.0
NAME = "dictionary"


def compressed(payload: bytes) -> bytes:
    """*payload* without a dictionary: what to store."""
    stored = ALONE + zstd.compress(payload, LEVEL)[len(MAGIC) :]
    return stored if len(stored) <= len(payload) else PLAIN + payload


def _payload_bytes(stored: bytes) -> int:
    """What the frame says; *stored*'s own bytes where it says nothing."""
    try:
        size = zstd.get_frame_info(MAGIC + stored[1:20]).decompressed_size
    except zstd.ZstdError:
        size = None
    return len(stored) if size is None else max(size, len(stored))


def decompressed(stored: bytes, most: int) -> bytes:
    """The payload of what :func:`compressed` gave.

    Raises:
        UnreadablePayload: damaged, or it says that it is larger than *most* bytes; then nothing is
            decoded.
    """
    frame = MAGIC + stored[1:]
    try:
        size = zstd.get_frame_info(frame).decompressed_size
        if size is None or size > most:
            raise UnreadablePayload(f"{size} bytes when decompressed, more than {most}")
        decompressor = zstd.ZstdDecompressor()
        payload: bytes = decompressor.decompress(frame, size)
    except zstd.ZstdError as error:
        raise UnreadablePayload(f"damaged or foreign bytes: {error}") from error
    if not decompressor.eof or len(payload) != size or decompressor.unused_data:
        raise UnreadablePayload("damaged or foreign bytes: a compressed value that is cut off or too long")
    return payload


def train(samples: Sequence[bytes]) -> Dictionary | None:
    """A dictionary with which payloads like *samples* take a tenth less than without; ``None``: there
    is none. Takes up to a second and gives the interpreter free meanwhile.
    """
    learned = [sample for i, sample in enumerate(samples) if i % 4]
    held_back = samples[::4]  # judged by what it did not see
    try:
        made = Dictionary(zstd.train_dict(learned, SIZE).dict_content)
    except (ValueError, zstd.ZstdError, UnreadablePayload):
        return None  # too few or too much alike
    alone = sum(len(compressed(sample)) for sample in held_back)
    return made if sum(len(made.compress(sample)) for sample in held_back) <= WORTH * alone else None


class Compression:
    """Compresses what one process stores in a namespace, and reads what others stored.

    There is one dictionary a namespace. Whoever has written enough makes it, the first one is kept.
    What was written with one that is stored nowhere any more can't be read.

    Args:
        values: where the dictionary is.
        most: bytes of a payload at most.
        trains: whether to make a dictionary. It holds pieces of payloads and outlives them.
    """

    def __init__(self, values: IShared, *, most: int, trains: bool = True) -> None:
        self._values, self._most, self._trains = values, most, trains
        self._known: dict[int, Dictionary] = {}
        self._current: Dictionary | None = None
        self._missing: dict[int, float] = {}
        self._samples: deque[bytes] = deque(maxlen=SAMPLES)
        self._due = self._seen = 0
        self._checked = -math.inf
        self._task: asyncio.Task[None] | None = None

    async def pack(self, payload: bytes) -> bytes:
        """What to store of *payload*.

        Raises:
            UnreadablePayload: it is larger than what would be read.
        """
        if len(payload) > self._most:
            raise UnreadablePayload(f"{len(payload)} bytes, more than max_value_bytes = {self._most}")
        if len(payload) < SHORTEST:
            return PLAIN + payload
        self._learn_from(payload)
        if len(payload) > LARGE:  # so long that a dictionary saves nothing
            return await asyncio.to_thread(compressed, payload)
        if self._current is None:
            return compressed(payload)
        stored = self._current.compress(payload)
        return stored if stored is not payload else PLAIN + payload

    async def unpack(self, stored: bytes) -> bytes:
        """The payload.

        Raises:
            UnreadablePayload: damaged, too large, or its dictionary is gone.
            BackendUnavailable: its dictionary can't be asked for.
        """
        kind = stored[:1]
        if kind == PLAIN:
            return stored[1:]
        if kind == ALONE:
            if _payload_bytes(stored) > LARGE:
                return await asyncio.to_thread(decompressed, stored, self._most)
            return decompressed(stored, self._most)
        identity = wanted(stored)
        if identity is None:
            raise UnreadablePayload("foreign bytes")
        dictionary = self._known.get(identity) or await self._fetch(identity)
        return dictionary.decompress(stored, self._most, "max_value_bytes")

    # ------------------------------------------------------------------ the dictionary

    async def _fetch(self, identity: int) -> Dictionary:
        now = time.monotonic()
        if now - self._missing.get(identity, -MISSING) >= MISSING:
            await self._load()
        found = self._known.get(identity)
        if found is None:
            if len(self._missing) > 1000:
                self._missing.clear()
            self._missing[identity] = now
            raise UnreadablePayload(f"compressed with dictionary {identity:04x}, which is stored nowhere")
        return found

    async def _load(self) -> bool:
        """Learn the stored one; whether there is one."""
        found = await self._values.get(NAME)
        self._checked = time.monotonic()
        if found.value is None:
            return False
        try:
            made = Dictionary(found.value)
        except UnreadablePayload as error:
            logger.error("The dictionary of a cache can't be read, values are compressed without: %s", error)
            return True
        self._known[made.identity] = self._current = made
        return True

    def _learn_from(self, payload: bytes) -> None:
        """Train a dictionary when there is enough to learn from, and look now and then whether the one
        in use is still stored.
        """
        wants = self._current is None and self._trains and len(payload) <= LONGEST
        if wants:
            self._samples.append(payload)
            self._seen += 1
        if self._task is not None and not self._task.done():
            return
        now = time.monotonic()
        if wants and self._seen >= max(SAMPLES, self._due):
            self._due = 4 * self._seen
            self._task = asyncio.create_task(self._train(), name="mocra cache dictionary")
        elif now - self._checked >= CHECK:
            self._checked = now
            self._task = asyncio.create_task(self._keep_stored(), name="mocra cache dictionary")

    async def _keep_stored(self) -> None:
        try:
            mine = self._current
            if not await self._load() and mine is not None:
                await self._values.put(NAME, mine.content, version=0)
        except MocraError as error:  # nothing hangs on it: the next look tries again
            logger.debug("Looking for the dictionary of a cache: %s", error)

    async def _train(self) -> None:
        try:
            if await self._load():
                return
            made = await asyncio.to_thread(train, list(self._samples))
            if made is not None:
                await self._values.put(NAME, made.content, version=0)
                await self._load()
                self._samples.clear()
        except MocraError as error:
            logger.debug("Storing the dictionary of a cache: %s", error)

    async def close(self) -> None:
        """End the training. May be called twice."""
        if self._task is not None:
            await end_tasks([self._task])


assert COMPRESSED not in (PLAIN[0], ALONE[0])
