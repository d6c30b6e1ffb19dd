"""What of a stored request is a secret, by the names of headers, parameters, fields and keys; and
texts without it.

A value that was found under such a name is hidden wherever else it stands, in a traceback above
all. Nobody can find a secret that has no name: what is in a URL's path, or a text of its own.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from fnmatch import translate
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from mocra_scrapy.models.redaction import MASK, redact

#: Names of headers, cookies and keys that are secrets whatever ``MOCRA_SECRET_PARAMS`` says.
SECRET = re.compile(r"auth|cookie|token|secret|passw|api-?_?key|session", re.IGNORECASE)
#: Shorter values stand in texts by chance.
SHORTEST = 4

_NAME = re.compile(r"[?&;#]([^=&;?#]*)=")
#: Where the value of a secret ends: one may have ``;`` and ``?`` in it.
_END = re.compile(r"[&#]|\Z")
_FORM = re.compile(rb"[\w.~%+*\[\]-]+=[^&\s]*(&[\w.~%+*\[\]-]+=[^&\s]*)*")


class Secrets:
    """Hides the secrets of one request, and remembers them.

    Args:
        patterns: ``MOCRA_SECRET_PARAMS``; they count beside :data:`SECRET`.
    """

    def __init__(self, patterns: Collection[str] = ()) -> None:
        more = "|".join(translate(pattern.lower()) for pattern in patterns)
        self._more = re.compile(more) if more else None
        self._found: set[str] = set()

    def is_secret(self, name: str) -> bool:
        return SECRET.search(name) is not None or (
            self._more is not None and self._more.match(name.lower()) is not None
        )

    def hide(self, value: Any) -> str:
        """The mask; all texts in *value* are secrets from now on."""
        self._found.update(text for text in _texts(value) if len(text) >= SHORTEST)
        return MASK

    def plain(self, value: Any) -> Any:  # noqa: PLR0911 - a table of types
        """*value* in what JSON has: bytes as text where they are, else in base64; sets and tuples
        as lists; the rest by its name. What stands under a secret's name is hidden.
        """
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, bytes):
            try:
                return redact(value.decode())
            except UnicodeDecodeError:
                return {"base64": base64.b64encode(value).decode()}
        if isinstance(value, Mapping):
            return {
                (name := key if isinstance(key, str) else str(self.plain(key))): self.hide(member)
                if self.is_secret(name)
                else self.plain(member)
                for key, member in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset, deque)):
            return [self.plain(member) for member in value]
        return str(value)

    def url(self, url: str) -> str:
        """*url* without its user information and the values of secret parameters."""
        user = urlsplit(url).netloc.rpartition("@")[0] if "://" in url else ""
        self.hide([part for raw in user.split(":", 1) for part in (raw, unquote(raw))])
        return redact(self._parameters(url))

    def _parameters(self, url: str) -> str:
        shown, at = [], 0
        while (name := _NAME.search(url, at)) is not None:
            shown.append(url[at : name.end()])
            at = name.end()
            if self.is_secret(unquote(name[1])) and (end := _END.search(url, at)) is not None:
                value, at = url[at : end.start()], end.start()
                shown.append(self.hide([value, unquote(value.replace("+", " "))]))
        return "".join([*shown, url[at:]])

    def body(self, body: bytes) -> bytes:
        """The body of a request: a form and JSON without what stands under a secret's name, all
        else as it is.
        """
        if body[:1] in (b"{", b"["):
            try:
                return json.dumps(self._members(json.loads(body)), ensure_ascii=False).encode()
            except (ValueError, RecursionError):
                return body
        if not _FORM.fullmatch(body):
            return body
        fields = parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True)
        if not any(self.is_secret(name) for name, _ in fields):
            return body
        return "&".join(
            f"{quote_plus(name)}={self.hide(value) if self.is_secret(name) else quote_plus(value)}"
            for name, value in fields
        ).encode()

    def _members(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: self.hide(member) if self.is_secret(name) else self._members(member)
                for name, member in value.items()
            }
        return [self._members(member) for member in value] if isinstance(value, list) else value

    def text(self, text: str) -> str:
        """*text* without all that was hidden so far, as it is and percent-encoded."""
        known = {form for secret in self._found for form in (secret, *_encoded(secret))}
        if not known:
            return text
        longest_first = sorted(known, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), MASK, text)


def _encoded(text: str) -> tuple[str, str]:
    return quote(text, errors="replace"), quote_plus(text, errors="replace")


def _texts(value: Any) -> Iterable[str]:
    """Each text in *value*; of what looks like ``Bearer abc`` and ``a=b; c=d`` the parts, too."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        yield value
        yield from (part.partition("=")[2] or part for part in re.split(r"[\s;,]+", value) if part != value)
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        for member in value:
            yield from _texts(member)
