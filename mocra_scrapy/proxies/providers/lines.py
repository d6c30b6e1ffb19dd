"""A text with a proxy on each line."""

from __future__ import annotations


def lines_of(text: str) -> list[str]:
    """The proxies of *text*: empty lines and those that begin with ``#`` are passed over, and what
    stands behind white space.
    """
    found = []
    for line in text.lstrip("\ufeff").splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            found.append(words[0])
    return found
