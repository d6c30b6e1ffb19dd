"""Masks user names and passwords of URLs, for logs, errors, dead letters and the list of workers.

::

    redact("can't reach http://u:p@ss/word@proxy:80")   ->  can't reach http://***@proxy:80
    redact("https://s/?p=http%3A%2F%2Fu%3Apw%40proxy")  ->  https://s/?p=http%3A%2F%2F***%40proxy
    redact_url("redis://user:p@ss/word@host/0")         ->  redis://user:***@host/0

People forget to percent-encode passwords, and a password may contain anything but whitespace. So the
user information of a URL is taken to end at the *last* ``@`` of its word, and the password to begin
at the first colon. That hides too much of a few URLs without a password
(``http://host:80/?mail=a@b`` becomes ``http://***@b``), and never too little.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MASK = "***"

_WORD = re.compile(r"\S+")
_BARE = re.compile(r"(?<![^\s'\"<(\[=])[^\s/:@]+:(?!//)\S*@")
_PARAMETER = re.compile(r"([?&;][^=&;?]*=)([^&;#]*)")
_SECRET = re.compile(r"pass|secret|token|key", re.IGNORECASE)
_SCHEME = re.compile(r"(?:^|%[0-9A-F]{2}|[^A-Z0-9+.-])([A-Z][A-Z0-9+.-]*)(?::|%(?:25)*3A)$", re.IGNORECASE)
_BEGINNING = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//")
_QUERY = re.compile(r"\?[^=&;?]*=")
#: Schemes of addresses that may have an ``@`` in their path: https://site/@name.
_WEB = frozenset(("http", "https", "ws", "wss", "ftp", "file"))


class _Signs(NamedTuple):
    """What parts a URL, as it is or percent-encoded (once or several times)."""

    slashes: re.Pattern[str]
    colon: re.Pattern[str]
    at: re.Pattern[str]
    end_of_host: re.Pattern[str]


_PLAIN = _Signs(re.compile("//"), re.compile(":"), re.compile("@"), re.compile("[/?#]"))
_ENCODED = _Signs(
    re.compile(r"(?:%(?:25)*2F){2}", re.IGNORECASE),
    re.compile(r":|%(?:25)*3A", re.IGNORECASE),
    re.compile(r"%(?:25)*40"),
    re.compile(r"[/?#&]|%(?:25)*(?:2F|3F|23)", re.IGNORECASE),
)


def redact(text: str) -> str:
    """*text* with the user information of all URLs in it masked, the user's name included: it may
    be a token. Takes time in proportion to the length.
    """
    if "@" not in text and "40" not in text:
        return text
    return _WORD.sub(lambda word: _redact_word(word[0]), text)


def redact_error(text: str) -> str:
    """:func:`redact` for what an exception says, which may name only a part of a URL: also masks
    ``user:password@host`` without a scheme.
    """
    return _BARE.sub(f"{MASK}@", redact(text)) if "@" in text else redact(text)


def redact_url(url: str) -> str:
    """*url*, which is one URL and nothing else, with its password masked, and what its query calls
    a password, secret, token or key. A user's name without password is masked, too: it often is
    one. The scheme may be missing.
    """
    scheme = "" if _BEGINNING.match(url) else "url://"
    masked = _redact_word(f"{scheme}{url}", keep_user=True).removeprefix(scheme)
    return _PARAMETER.sub(lambda part: part[1] + MASK if _SECRET.search(part[1]) else part[0], masked)


def without_user_info(url: str) -> str:
    """*url*, which is one URL and nothing else, without its user information. The scheme may be
    missing.
    """
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else url.rpartition("@")[2]


def _redact_word(word: str, *, keep_user: bool = False) -> str:
    for _ in range(8):  # what is masked may have hidden another URL: once more, until nothing changes
        masked = _mask(_mask(word, _PLAIN, keep_user), _ENCODED, keep_user)
        if masked == word:
            break
        word = masked
    return word


def _mask(text: str, signs: _Signs, keep_user: bool) -> str:
    """*text* with the user information of its first URL masked, up to the last ``@``."""
    slashes = signs.slashes.search(text)
    if slashes is None:
        return text
    begin, ats = slashes.end(), [at.start() for at in signs.at.finditer(text, slashes.end())]
    if not ats:
        return text
    colon = signs.colon.search(text, begin, ats[-1])
    if colon is None and _is_host(text, slashes, ats[0], signs):
        return text
    if keep_user and colon is not None and colon.end() < ats[-1]:
        begin = colon.end()
    return f"{text[:begin]}{MASK}{text[ats[-1] :]}"


def _is_host(text: str, slashes: re.Match[str], at: int, signs: _Signs) -> bool:
    """Whether what stands between the slashes and the first ``@`` begins with a host: then the
    ``@`` belongs to a path or query.
    """
    end = signs.end_of_host.search(text, slashes.end(), at)
    if end is None:
        return False
    scheme = _SCHEME.search(text[max(0, slashes.start() - 24) : slashes.start()])
    return (
        scheme is None
        or scheme[1].lower() in _WEB
        or end.start() == slashes.end()
        or _QUERY.search(text, end.start(), at) is not None
    )
