"""Signs what a webhook gets, and checks it on the other side.

``Mocra-Timestamp`` holds seconds since the epoch, ``Mocra-Signature`` ``v1=`` and the hexadecimal
HMAC-SHA256 of ``TIMESTAMP.BODY`` under the secret. So neither a body that was changed passes, nor
one that somebody recorded and sends again later.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping

TIMESTAMP, SIGNATURE = "Mocra-Timestamp", "Mocra-Signature"
_VERSION = "v1="


def signed(secret: str, body: bytes, now: float) -> dict[str, str]:
    """The headers that go with *body*."""
    timestamp = str(int(now))
    return {TIMESTAMP: timestamp, SIGNATURE: _VERSION + _digest(secret, timestamp, body)}


def verify(
    secret: str, headers: Mapping[str, str], body: bytes, *, tolerance: float = 300.0, now: float | None = None
) -> bool:
    """Whether *body* was sent by somebody who knows *secret*, *tolerance* seconds ago at most.

    Args:
        headers: of the request; upper and lower case are the same.
        body: as it was received, before anything reads JSON out of it.
        now: seconds since the epoch; default: the clock's.

    Never raises for what somebody may send.
    """
    small = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = small.get(TIMESTAMP.lower(), ""), small.get(SIGNATURE.lower(), "")
    if not timestamp.isdecimal() or not timestamp.isascii() or len(timestamp) > 12:
        return False
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        return False
    good = _VERSION + _digest(secret, timestamp, body)
    return hmac.compare_digest(good.encode(), signature.encode("utf-8", "replace"))


def _digest(secret: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
