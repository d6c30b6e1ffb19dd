"""What requests carry: all that can be stored, and what can't."""

from __future__ import annotations

import datetime
import functools
from typing import Any

from scrapy import Request
from scrapy.http import FormRequest, JsonRequest, Response

from tests.e2e.ways.way import Way, _OneSeed


class Opaque:
    """Can't be stored."""

    def parse(self, response: Any) -> Any:
        yield {"elsewhere": response.status}


class WhatTheyCarry(Way):
    async def start(self) -> Any:
        carried = {
            "tuple": (1, [2, {"a": (3,)}]),
            "set": {1, 2},
            "bytes": b"\xff",
            "none": None,
            "float": 1.5,
            "big": 10**30,
            "text": "é\ud800"[:1],
            "when": datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
            3: "a number as a key",
        }
        yield self.get("/ok/meta", self.shows, meta={"carried": carried})
        yield self.get("/ok/kwargs", self.shows, cb_kwargs={"carried": carried})
        yield self.get("/ok/headers", headers={"X-One": ["a", "b"]}, flags=["f"], cookies={"c": "1"})
        yield JsonRequest(self.site + "/ok/json", data={"a": ["é"]}, callback=self.body)
        yield FormRequest(self.site + "/ok/form", formdata={"a": "é"}, callback=self.body)
        yield self.get("/ok/latin?q=%ff", encoding="latin-1")
        yield self.get("/ok/post", self.body, method="PUT", body="é" * 1000)

    def shows(self, response: Response, carried: Any = None) -> Any:
        shown = carried or response.meta["carried"]
        yield {"carried": sorted(f"{key!r}: {shown[key]!r}" for key in shown)}

    def body(self, response: Response) -> Any:
        request = response.request
        yield {"sent": (request.method, request.body.decode(), request.headers.get("Content-Type", b"").decode())}


class WhatStaysHere(Way):
    """What can't be stored is fetched all the same, and so is what comes of it."""

    letters = {"retry": 1}  # of the parent of the one that can't be stored

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.other = Opaque()

    async def start(self) -> Any:
        yield self.get("/ok/lambda", lambda response: [{"lambda": 1}, self.get("/ok/of-lambda")])
        yield self.get("/ok/partial", functools.partial(self.parse, tag=1))
        yield self.get("/ok/elsewhere", self.other.parse)
        yield self.get("/ok/opaque", self.again, meta={"opaque": Opaque()}, priority=3)
        yield self.get("/links/3", self.links)

    def again(self, response: Response) -> Any:
        yield {"opaque": type(response.meta["opaque"]).__name__}
        yield self.get("/ok/of-opaque", self.parse, meta=response.meta)

    def links(self, response: Response) -> Any:
        for link in response.css("a"):
            yield response.follow(link, lambda response: {"of": self.path(response.url)})
        yield self.get("/drop", lambda response: None, errback=lambda failure: {"failed": failure.type.__name__})


class Token(Request):
    """Its constructor wants something that ``replace`` and ``copy`` don't know."""

    def __init__(self, url: str, token: str, **more: Any) -> None:
        self.token = token
        super().__init__(url, **more)


class ClassWithAnArgument(_OneSeed):
    """Yielded again while it is in flight."""

    n = 0

    def seeded(self, response: Response) -> Any:
        yield Token(self.site + "/ok/token", "t", callback=self.again, dont_filter=True)

    def again(self, response: Response) -> Any:
        self.n += 1
        yield {"n": self.n, "token": getattr(response.request, "token", None)}
        if self.n < 4:
            yield response.request
