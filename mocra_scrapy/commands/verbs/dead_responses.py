"""``scrapy mocra dead show --body``, ``--headers``: what the site answered, as far as it is kept beside a
dead letter.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mocra_scrapy.codec.responses import StoredResponse

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IRequestQueue


async def stored_response(queue: IRequestQueue, identity: str) -> StoredResponse | None:
    """The response of the letter *identity*; ``None``: there is none, and standard error says why.

    Raises:
        UnreadablePayload: what is stored is none.
    """
    frame = await queue.find_response(identity)
    if frame is not None:
        return StoredResponse.unpack(frame)
    ((letter, *_),) = [await queue.find_dead([identity])]
    if letter is None:
        why = "there is no such letter (replayed, purged, too old, or of another crawl)"
    else:
        why = (
            f"its failure ({letter.reason}) came without one, or others of its kind came first (MOCRA_DEAD_BODIES,"
            " MOCRA_DEAD_BODIES_MAX_BYTES). list marks the letters with a body"
        )
    print(f"No response is kept of {identity}: {why}", file=sys.stderr)
    return None


async def show_response(queue: IRequestQueue, identity: str, options: argparse.Namespace) -> int:
    """Write it as the command line says; the exit code."""
    response = await stored_response(queue, identity)
    if response is None:
        return 1
    head = f"{response.head()}\n\n".encode() if options.headers else b""
    data = head + (response.body if options.body else b"")
    if options.output:
        Path(options.output).write_bytes(data)  # noqa: ASYNC240 - a command has no loop that others wait for
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    if options.body:
        tell_if_cut(response)
    return 0


def tell_if_cut(response: StoredResponse) -> None:
    """On standard error."""
    if response.is_cut:
        print(
            f"Only the first {len(response.body)} of {response.size} bytes of the body are kept"
            " (MOCRA_DEAD_BODY_MAX_BYTES)",
            file=sys.stderr,
        )
