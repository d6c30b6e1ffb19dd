"""Content codings: gzip, deflate, br, zstd. They are undone where a page is stored and where it is written
into a file: what is compressed already is compressed no further, and a file's reader may know none of them.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

from mocra_scrapy.cache.httpcache.fields import members
from mocra_scrapy.cache.httpcache.messages import Answer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def _library(*names: str) -> Any:
    """The first of *names* that is installed."""
    for name in names:
        with suppress(ImportError):
            return import_module(name)
    return None


brotli = _library("brotli", "brotlicffi")


def _gunzip(body: bytes, most: int) -> bytes | None:
    return _inflated(zlib.decompressobj(zlib.MAX_WBITS | 16), body, most)


def _inflate(body: bytes, most: int) -> bytes | None:
    try:
        return _inflated(zlib.decompressobj(), body, most)
    except zlib.error:  # without the head that it is to have, as some servers send it
        return _inflated(zlib.decompressobj(-zlib.MAX_WBITS), body, most)


def _inflated(inflate: Any, body: bytes, most: int) -> bytes | None:
    plain: bytes = inflate.decompress(body, most)
    return plain if inflate.eof and not inflate.unused_data else None


def _unbrotli(body: bytes, most: int) -> bytes | None:
    decompressor = brotli.Decompressor()
    parts = [decompressor.process(body, output_buffer_limit=most)]
    size = len(parts[0])
    while not decompressor.is_finished():
        part = decompressor.process(b"", output_buffer_limit=most) if size <= most else b""
        if not part:
            return None  # cut off, or too large
        parts.append(part)
        size += len(part)
    return b"".join(parts) if size <= most else None


def _unzstd(body: bytes, most: int) -> bytes | None:
    decompressor = zstd.ZstdDecompressor()
    plain: bytes = decompressor.decompress(body, most)
    return plain if decompressor.eof and not decompressor.unused_data else None


_UNDO: dict[bytes, Callable[[bytes, int], bytes | None]] = {
    b"gzip": _gunzip,
    b"x-gzip": _gunzip,
    b"deflate": _inflate,
    b"zstd": _unzstd,
    b"identity": lambda body, most: body,
}
if brotli is not None:
    _UNDO[b"br"] = _unbrotli


def codings_of(answer: Answer) -> list[bytes]:
    """What ``Content-Encoding`` says, in the order in which it was done."""
    return [name.lower() for name in members(answer.fields.get(b"content-encoding", ()))]


def are_known(codings: Iterable[bytes]) -> bool:
    """Whether each of *codings* can be undone here. (br needs brotli or brotlicffi, as in Scrapy.)"""
    return all(name in _UNDO for name in codings)


def decoded(answer: Answer, most: int) -> Answer | None:
    """*answer* with its body as it was before, and without the fields that say otherwise.

    ``None``: it can't be undone: a coding that nobody here knows, a body that is damaged, cut off, or has more
    than *most* bytes then. An answer without codings, or without a body, stays as it is.
    """
    codings = codings_of(answer)
    if not codings or not answer.body:
        return answer
    body: bytes | None = answer.body
    if not are_known(codings):
        return None
    for name in reversed(codings):
        try:
            body = None if body is None else _UNDO[name](body, most)
        except Exception:  # each library has errors of its own for what is damaged
            return None
    if body is None:
        return None
    fields = {
        name: lines for name, lines in answer.fields.items() if name not in (b"content-encoding", b"content-length")
    }
    return replace(answer, fields=fields, body=body)
