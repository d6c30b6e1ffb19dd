"""What a session holds, as it is stored: encrypted and bound to the session's name where
``MOCRA_SECRET_KEY`` is set (AES-256 in GCM, by the ``cryptography`` package that Scrapy needs anyway).

``0x02``, the first 4 bytes of the key's SHA-256, 12 random bytes, the rest. Without a key: the JSON
itself, which begins with ``{``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from mocra_scrapy.exceptions import UnreadablePayload
from mocra_scrapy.settings.sessions import KEY as NAME

SEALED = 0x02


class WrongKey(UnreadablePayload):
    """It is encrypted, and not with a key that is known here; or not for this name."""


class Seal:
    """Encrypts and decrypts; without keys it does neither."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = {}
        if keys:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._keys = {hashlib.sha256(key).digest()[:4]: AESGCM(key) for key in keys}
            self._first = hashlib.sha256(keys[0]).digest()[:4]

    def seal(self, name: str, raw: bytes) -> bytes:
        """*raw* as it is stored under *name*."""
        if not self._keys:
            return raw
        nonce = os.urandom(12)
        sealed = self._keys[self._first].encrypt(nonce, raw, name.encode("utf-8", "surrogatepass"))
        return bytes([SEALED]) + self._first + nonce + sealed

    def open(self, name: str, stored: bytes) -> bytes:
        """What was sealed under *name*.

        Raises:
            WrongKey: it can't be read here.
        """
        if stored[:1] != bytes([SEALED]):
            return stored
        which, nonce, sealed = stored[1:5], stored[5:17], stored[17:]
        if not self._keys:
            raise WrongKey(f"{NAME}: session {name!r} is encrypted, and this worker has no key. Set the crawl's key")
        if which not in self._keys:
            raise WrongKey(
                f"{NAME}: session {name!r} is encrypted with another key. Set that one, behind a comma if it is an older one"
            )
        from cryptography.exceptions import InvalidTag

        try:
            return self._keys[which].decrypt(nonce, sealed, name.encode("utf-8", "surrogatepass"))
        except (InvalidTag, ValueError) as error:
            raise WrongKey(f"session {name!r} was damaged, or stored under another name") from error
