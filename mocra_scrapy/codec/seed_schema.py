"""The one schema of a seed in JSON. Imported when the first one comes: nobody else needs msgspec."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

#: Seconds that a seed may ask to wait, at most; ``MOCRA_DELAY_MAX`` shortens it further.
LONGEST = 10.0 * 365 * 86_400

Delay = Annotated[float, msgspec.Meta(ge=0, le=LONGEST)]
NotEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class Seed(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The parts of a request that a seed may have; what is none of these is refused by its name.

    Attributes:
        url: http or https, absolute.
        method, headers, body, cookies, meta, cb_kwargs, priority, dont_filter: as in
            :class:`scrapy.Request`; a body is text, in UTF-8.
        callback, errback: names of methods of the spider.
        delay: seconds before it may be fetched, 0 or more.
    """

    url: NotEmpty
    method: NotEmpty = "GET"
    headers: dict[str, str | list[str]] = {}
    body: str = ""
    cookies: dict[str, str] | list[dict[str, str | bool]] = {}
    callback: NotEmpty | None = None
    errback: NotEmpty | None = None
    meta: dict[str, Any] = {}
    cb_kwargs: dict[str, Any] = {}
    priority: Annotated[int, msgspec.Meta(ge=-(2**51), le=2**51)] = 0
    delay: Delay = 0.0
    dont_filter: bool = False


_decoder = msgspec.json.Decoder(Seed)


def opened(data: bytes) -> Seed:
    """*data* as a seed.

    Raises:
        ValueError: it is none; names the field.
    """
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
