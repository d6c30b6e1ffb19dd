"""Dead letters for people and for other programs: as JSON, without a spider, without secrets.

Bodies of the default codec are read; others are shown as they are, in base64.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.utils.request import fingerprint

from mocra_scrapy.codec.requests import (
    BODY,
    CALLBACK,
    COOKIES,
    ERRBACK,
    EXTRA,
    HEADERS,
    KEYWORDS,
    META,
    METHOD,
    MSGPACK,
)
from mocra_scrapy.codec.secrets import Secrets
from mocra_scrapy.codec.seeds_json import shown, unwrapped
from mocra_scrapy.codec.spider_objects import Named
from mocra_scrapy.codec.values import ValueReader

if TYPE_CHECKING:
    from mocra_scrapy.models import DeadLetter


def instant(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def request_of(body: bytes, secrets: Secrets | None = None) -> dict[str, Any] | None:
    """A stored request; ``None``: it is none, or not of the default codec. The request's own body
    is in base64. *secrets*: what they are; hears of those that are found.
    """
    secrets = secrets or Secrets()
    if not body or body[0] != MSGPACK:
        return None
    try:
        _, url, fields = ValueReader(Named()).unpack(memoryview(body)[1:])
        shown: dict[str, Any] = {"url": secrets.url(str(url)), "method": "GET"}
        for field, value in fields.items():
            if field == COOKIES:
                shown["cookies"] = secrets.hide(value)
            elif field in (CALLBACK, ERRBACK):
                shown["callback" if field == CALLBACK else "errback"] = value or None
            elif KEYWORDS.get(field) == "body":
                shown["body"] = base64.b64encode(secrets.body(value)).decode()
            elif field in (HEADERS, META, EXTRA) or field in KEYWORDS:
                shown[KEYWORDS.get(field, "attributes")] = secrets.plain(value)
    except Exception:
        return None
    return shown


def fingerprint_of(body: bytes) -> bytes | None:
    """The fingerprint by Scrapy's own fingerprinter of a stored request; ``None``: its bytes can't
    be read.
    """
    if not body or body[0] != MSGPACK:
        return None
    try:
        _, url, fields = ValueReader(Named()).unpack(memoryview(body)[1:])
        named = {KEYWORDS[field]: fields[field] for field in (METHOD, BODY, META) if field in fields}
        return fingerprint(Request(url, **named))
    except Exception:
        return None


def _seed_of(body: bytes) -> dict[str, Any] | None:
    """A seed as it came, and from where; ``None``: it is none."""
    found = unwrapped(body)
    if found is None:
        return None
    source, place, size, kept = found
    return {"source": source, "place": place, "bytes": size, "seed": shown(kept)}


def as_json(letter: DeadLetter, patterns: Collection[str] = ()) -> dict[str, Any]:
    """All that is known of *letter*. ``payload``, the stored bytes in base64, only where they can't
    be read as a request. *patterns*: ``MOCRA_SECRET_PARAMS``.
    """
    secrets = Secrets(patterns)
    request = request_of(letter.body, secrets)
    return {
        "id": letter.id,
        "delivery": letter.delivery,
        "reason": letter.reason,
        "done": letter.done,
        "url": secrets.url(letter.url) or (request or {}).get("url"),
        "slot": letter.slot,
        "priority": letter.priority,
        "deliveries": letter.deliveries,
        "retries": letter.retries,
        "worker": letter.worker,
        "first_failed_at": instant(letter.first_failed_at),
        "died_at": instant(letter.died_at),
        "fingerprint": None if letter.fingerprint is None else letter.fingerprint.hex(),
        "detail": secrets.text(letter.detail),
        "request": request,
        **({"seed": seed} if (seed := _seed_of(letter.body)) else {}),
        **({} if request is not None else {"payload": base64.b64encode(letter.body).decode()}),
    }


def as_line(letter: DeadLetter, patterns: Collection[str] = ()) -> str:
    """*letter* as a line of JSON."""
    return json.dumps(as_json(letter, patterns), ensure_ascii=False)


def as_text(letter: DeadLetter, patterns: Collection[str] = ()) -> str:
    """*letter* for a person: a line for each thing that is known, the detail below."""
    known = as_json(letter, patterns)
    request, detail = known.pop("request"), known.pop("detail")
    lines = [f"{name}: {value}" for name, value in known.items() if value is not None]
    lines += [f"request {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in (request or {}).items()]
    return "\n".join([*lines, detail.rstrip()])
