"""Draws the rooms of the package and a request's way through them: ``docs/_static/rooms.svg``.

Run ``python docs/pictures/rooms.py`` after a change; a test compares the picture with this source,
and its rooms with the table of ``tests/unit/test_floors.py``.

The picture is part of the page, not an image in it: so it takes the page's colours, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

TARGET = Path(__file__).parents[1] / "_static" / "rooms.svg"
WIDTH, HEIGHT = 900, 886


class Band(NamedTuple):
    """A floor: its name, its kind (a colour), and from where to where it reaches."""

    name: str
    kind: str
    top: int
    bottom: int


class Box(NamedTuple):
    """A room, or a file in one. *step*: the number on a request's way."""

    name: str
    kind: str
    x: int
    y: int
    width: int
    height: int = 42
    note: str = ""
    step: int = 0


class Arrow(NamedTuple):
    """A part of a request's way, through the points of a path; ``M`` and ``L`` as in SVG."""

    path: str


#: The columns: what is done with it | what comes in | what goes out | rooms beside the way.
A, B, C, D, E = 30, 212, 398, 600, 742
NARROW, MIDDLE, WIDE, ROOM = 150, 156, 172, 128

BANDS = [
    Band("Scrapy", "outside", 12, 84),
    Band("4 · what Scrapy loads", "shells", 100, 232),
    Band("3 · the rooms", "rooms", 248, 578),
    Band("2 · the rules", "rules", 594, 726),
    Band("1 · the backends", "backends", 742, 874),
]

#: Boxes that hold others; their name stands in the lower left corner.
HOUSES = [
    Box("worker", "rooms", A - 12, 272, 564, 248, "the inside of one process"),
    Box("backends", "backends", A - 12, 754, E + ROOM - A + 24, 108, "open_by_role makes one of them of URLs"),
]

BOXES = [
    Box("callback", "outside", A, 28, B + MIDDLE - A, note="in your spider"),
    Box("downloader", "outside", C, 28, WIDE, note="sends it to the site", step=8),
    # What Scrapy loads.
    Box("addon", "shells", A, 124, 62),
    Box("spidermiddlewares", "shells", B, 124, MIDDLE, note="known links"),
    Box("downloadermiddlewares", "shells", C, 124, WIDE, note="limits, feedback, retries"),
    Box("extensions", "shells", D, 124, ROOM, note="leader, breaker, …"),
    Box("commands", "shells", E, 124, ROOM, note="scrapy mocra, cron"),
    Box(
        "scheduler",
        "shells",
        B,
        178,
        C + WIDE - B,
        note="enqueue_request ↓" + "\N{NO-BREAK SPACE}" * 12 + "next_request ↑",
    ),
    Box("dupefilters", "shells", D, 178, ROOM, note="the shared filter"),
    Box("statscollectors", "shells", E, 178, ROOM, note="totals of a crawl"),
    # The rooms: a worker's inside, in the order of the data flow, and the others.
    Box("deliveries", "file", A, 290, NARROW, note="what is in flight"),
    Box("intake", "file", B, 290, MIDDLE, note="filters, encodes", step=2),
    Box("dispatcher", "file", C, 290, WIDE, note="decodes, hands out", step=7),
    Box("settlement", "file", A, 348, NARROW, note="ack, retry or dead letter", step=9),
    Box("outbox", "file", B, 348, MIDDLE, note="pushes, then acks", step=3),
    Box("inbox", "file", C, 348, WIDE, note="fair between slots", step=6),
    Box("exchange loop", "file", B, 412, C + WIDE - B, note="one call: push, settle, reclaim, lease", step=4),
    Box("engine", "rooms", D, 254, ROOM, note="private names"),
    Box("codec", "rooms", E, 254, ROOM, note="request ↔ bytes"),
    Box("runtime", "rooms", D, 300, ROOM, note="Mocra"),
    Box("politeness", "rooms", E, 300, ROOM, note="what sites ask for"),
    Box("control", "rooms", D, 346, ROOM, note="pause, drain, set"),
    Box("cron", "rooms", E, 346, ROOM, note="schedules"),
    Box("feeds", "rooms", D, 392, ROOM, note="items in files"),
    Box("pipelines", "rooms", E, 392, ROOM, note="items in batches"),
    Box("seeds", "rooms", D, 438, ROOM, note="what feeds a crawl"),
    Box("events", "rooms", E, 438, ROOM, note="what happens, told"),
    Box("cache", "rooms", D, 484, ROOM, note="values for a while"),
    Box("sessions", "rooms", E, 484, ROOM, note="cookies, log-ins"),
    Box("proxies", "rooms", D, 530, ROOM, note="a choice of two"),
    # The rules.
    Box("models", "rules", A, 620, NARROW, note="what crosses them"),
    Box("interfaces", "rules", B, 620, C + WIDE - B, note="IRequestQueue.exchange, IElection, ILocks, …"),
    Box("coordination", "rules", D, 620, ROOM, note="leaders, locks"),
    Box("settings", "rules", E, 620, ROOM, note="read and checked"),
    Box("exceptions", "rules", A, 674, NARROW),
    Box("signals", "rules", B, 674, MIDDLE),
    Box("_tasks", "rules", C + 16, 674, WIDE - 16),
    Box("_version", "rules", D, 674, ROOM),
    Box("_lazy", "rules", E, 674, ROOM),
    # The backends.
    Box("embedded", "backends", A, 770, NARROW, note="the rules, without I/O"),
    Box("memory", "backends", B, 770, 118, note="in-process"),
    Box("queue", "queue", 346, 770, 90, note="of a crawl", step=5),
    Box("redis", "backends", 452, 770, 118, note="Lua scripts"),
    Box("kafka", "backends", D, 770, ROOM, note="a log, and items"),
    Box("composite", "backends", E, 770, ROOM, note="a log over a queue"),
]

#: x of the lines: done, coming in, going out; down to the queue and back.
DONE, IN, OUT, DOWN, UP = 142, 290, 484, 376, 406

ARROWS = [
    Arrow(f"M{IN} 70 L{IN} 290"),  # yielded
    Arrow(f"M{IN} 332 L{IN} 348"),
    Arrow(f"M{IN} 390 L{IN} 412"),
    Arrow(f"M{DOWN} 454 L{DOWN} 770"),  # exchanged
    Arrow(f"M{UP} 770 L{UP} 454"),
    Arrow(f"M{OUT} 412 L{OUT} 390"),
    Arrow(f"M{OUT} 348 L{OUT} 332"),
    Arrow(f"M{OUT} 290 L{OUT} 70"),  # handed out
    Arrow(f"M{C} 49 L{B + MIDDLE} 49"),  # the response
    Arrow(f"M{DONE} 70 L{DONE} 290"),  # the engine lets go of it
    Arrow(f"M{DONE} 332 L{DONE} 348"),
    Arrow(f"M{A + NARROW} 369 L{B} 369"),  # acknowledged
]

#: Words beside the lines: x, y, text.
WORDS = [
    (DONE - 76, 194, "the engine"),
    (DONE - 76, 209, "lets go of it"),
    (D + 44, 810, "a request's way"),
    (D, 834, "imports go down, never up"),
]
#: The first step has no box of its own: it is where the callback yields.
YIELD = (IN, 70, 1)
LEGEND = Arrow(f"M{D} 806 L{D + 36} 806")

STYLE = """
.rooms { display: block; width: 100%; height: auto; max-width: 900px; margin: 1rem auto;
  --ink: var(--color-foreground-primary, #1f2328); --soft: var(--color-foreground-secondary, #57606a);
  --paper: var(--color-background-primary, #fff); --way: #e8590c;
  --outside: #868e96; --shells: #4263eb; --is-room: #0ca678; --rules: #ae3ec9; --backends: #1098ad; }
.rooms text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Inter, "DejaVu Sans", sans-serif;
  fill: var(--ink); text-anchor: middle; }
.rooms .name { font-size: 14px; font-weight: 600; }
.rooms .long { font-size: 12px; }
.rooms .note { font-size: 11.5px; fill: var(--soft); }
.rooms .floor { font-size: 13px; font-weight: 600; text-anchor: end; fill: var(--soft); }
.rooms .corner { text-anchor: start; }
.rooms .number { font-size: 11px; font-weight: 700; fill: #fff; }
.rooms .paper { fill: var(--paper); }
.rooms .band { fill-opacity: .07; }
.rooms .box { fill-opacity: .13; stroke-opacity: .7; stroke-width: 1.2; }
.rooms .house { fill-opacity: .08; stroke-opacity: .5; stroke-dasharray: 5 4; }
.rooms .way { fill: none; stroke: var(--way); stroke-width: 2.4; marker-end: url(#rooms-head); }
.rooms .head, .rooms .step { fill: var(--way); }
.rooms .outside { fill: var(--outside); stroke: var(--outside); }
.rooms .shells { fill: var(--shells); stroke: var(--shells); }
.rooms .rooms-kind, .rooms .file { fill: var(--is-room); stroke: var(--is-room); }
.rooms .rules { fill: var(--rules); stroke: var(--rules); }
.rooms .backends { fill: var(--backends); stroke: var(--backends); }
.rooms .queue { fill: var(--way); stroke: var(--way); }
.rooms .band { stroke: none; }
@media (prefers-color-scheme: dark) {
  .rooms { --ink: var(--color-foreground-primary, #e6edf3); --soft: var(--color-foreground-secondary, #9da7b3);
    --paper: var(--color-background-primary, #131416); }
}
"""

DESCRIPTION = (
    "Four floors. What Scrapy loads is above the rooms, these are above the rules, and the backends are below. "
    "A request is yielded by a callback, goes through the scheduler into the worker's intake and outbox, with the "
    "exchange loop to the queue, comes back into an inbox, and through the dispatcher and the scheduler to the "
    "downloader; its response goes to the callback. When the engine lets go of it, settlement puts its "
    "acknowledgement into the outbox."
)


def _kind(kind: str) -> str:
    return "rooms-kind" if kind == "rooms" else kind


def _band(band: Band) -> Iterator[str]:
    height = band.bottom - band.top
    yield f'<rect class="band {_kind(band.kind)}" x="6" y="{band.top}" width="{WIDTH - 12}" height="{height}" rx="10"/>'
    yield f'<text class="floor" x="{WIDTH - 30}" y="{band.top + 17}">{escape(band.name)}</text>'


def _house(box: Box) -> Iterator[str]:
    place = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="10"'
    yield f'<rect class="house {_kind(box.kind)}" {place}/>'
    x, y = box.x + 14, box.y + box.height - 14
    yield f'<text class="name corner" x="{x}" y="{y - 15}">{escape(box.name)}</text>'
    yield f'<text class="note corner" x="{x}" y="{y}">{escape(box.note)}</text>'


def _box(box: Box) -> Iterator[str]:
    place = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="7"'
    yield f'<rect class="paper" {place}/><rect class="box {_kind(box.kind)}" {place}/>'
    x, y = box.x + box.width // 2, box.y + box.height // 2
    look = "name long" if len(box.name) > 16 else "name"
    yield f'<text class="{look}" x="{x}" y="{y - 3 if box.note else y + 5}">{escape(box.name)}</text>'
    if box.note:
        yield f'<text class="note" x="{x}" y="{y + 13}">{escape(box.note)}</text>'
    if box.step:
        yield from _step(box.x + 2, box.y + 3, box.step)


def _step(x: int, y: int, number: int) -> Iterator[str]:
    yield f'<circle class="step" cx="{x}" cy="{y}" r="9.5"/><text class="number" x="{x}" y="{y + 4}">{number}</text>'


def _lines() -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rooms" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="rooms-title rooms-text">'
    )
    yield '<title id="rooms-title">The rooms of mocra_scrapy and a request\'s way through them</title>'
    yield f'<desc id="rooms-text">{escape(DESCRIPTION)}</desc>'
    yield f"<style>{STYLE}</style>"
    yield (
        '<defs><marker id="rooms-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="5" markerHeight="5" '
        'orient="auto"><path class="head" d="M0 0 L10 5 L0 10 z"/></marker></defs>'
    )
    for band in BANDS:
        yield from _band(band)
    for house in HOUSES:
        yield from _house(house)
    for arrow in (*ARROWS, LEGEND):
        yield f'<path class="way" d="{arrow.path}"/>'
    for box in BOXES:
        yield from _box(box)
    yield from _step(*YIELD)
    for x, y, words in WORDS:
        yield f'<text class="note corner" x="{x}" y="{y}">{escape(words)}</text>'
    yield "</svg>"


def draw() -> str:
    """The picture."""
    return "\n".join(_lines()) + "\n"


def rooms() -> set[str]:
    """Names of all rooms that are drawn."""
    return {box.name for box in (*BOXES, *HOUSES) if box.kind in {"shells", "rooms", "rules", "backends"}}


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(draw(), encoding="utf-8")
