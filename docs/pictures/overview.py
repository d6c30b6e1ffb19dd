"""Draws what runs where: project, workers and backend: ``docs/_static/overview.svg``.

Run ``python docs/pictures/overview.py`` after a change; a test compares the picture with this
source. It looks like the picture of the rooms (``rooms.py``). In the docs it is part of the page and
takes the page's colours; in the README it is an image and follows the reader's colour scheme.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

TARGET = Path(__file__).parents[1] / "_static" / "overview.svg"
WIDTH, HEIGHT = 900, 438


class Box(NamedTuple):
    """Something that runs or stores. *lines*: what is in it."""

    name: str
    kind: str
    x: int
    y: int
    width: int
    height: int
    lines: tuple[str, ...] = ()


#: Machines, drawn around their workers.
MACHINES = [
    Box("machine A", "workers", 256, 16, 306, 196),
    Box("machine B", "workers", 256, 226, 306, 104),
]

WORKER = ("your spider and pipelines, in Scrapy", "leased requests, unsent results")

BOXES = [
    Box(
        "your project",
        "project",
        18,
        68,
        150,
        186,
        ("spiders, pipelines,", "middlewares", "settings.py with", "ADDONS and", "MOCRA_BACKEND"),
    ),
    Box("worker 1: scrapy crawl", "workers", 270, 38, 278, 70, WORKER),
    Box("worker 2: scrapy crawl", "workers", 270, 122, 278, 70, WORKER),
    Box("worker 3: scrapy crawl", "workers", 270, 238, 278, 70, WORKER),
    Box(
        "backend",
        "backends",
        690,
        38,
        192,
        254,
        (
            "Redis or Valkey:",
            "pending, delayed requests",
            "leases of each worker",
            "filter of seen URLs",
            "limits of each slot",
            "dead letters",
            "leaders, locks",
            "shared values",
            "schedule of cron",
        ),
    ),
    Box("sites", "outside", 256, 372, 142, 50, ("pages",)),
    Box("your storage", "outside", 420, 372, 142, 50, ("feeds, databases",)),
    Box(
        "your shell",
        "project",
        690,
        334,
        192,
        88,
        ("scrapy mocra: look, pause,", "drain, replay", "scrapy cron: schedules"),
    ),
]

#: Paths, as in SVG.
ARROWS = [
    "M168 130 L256 130",
    "M168 226 L212 226 L212 278 L256 278",
    "M562 100 L690 100",
    "M690 126 L562 126",
    "M562 252 L690 252",
    "M690 274 L562 274",
    "M327 330 L327 372",
    "M491 330 L491 372",
    "M786 334 L786 292",
]

#: Words beside the lines: x, y, text.
WORDS = [
    (174, 122, "same code,"),
    (174, 147, "same settings"),
    (570, 77, "new requests,"),
    (570, 92, "acknowledgements"),
    (570, 145, "leases, limits"),
    (335, 356, "requests"),
    (499, 356, "items"),
]

STYLE = """
.overview { display: block; width: 100%; height: auto; max-width: 900px; margin: 1rem auto;
  --ink: var(--color-foreground-primary, #1f2328); --soft: var(--color-foreground-secondary, #57606a);
  --paper: var(--color-background-primary, #fff); --way: #e8590c;
  --outside: #868e96; --project: #4263eb; --workers: #0ca678; --backends: #1098ad; }
.overview text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Inter, "DejaVu Sans", sans-serif;
  fill: var(--ink); text-anchor: middle; }
.overview .name { font-size: 14px; font-weight: 600; }
.overview .note { font-size: 11.5px; fill: var(--soft); }
.overview .corner { text-anchor: start; }
.overview .paper { fill: var(--paper); }
.overview .box { fill-opacity: .13; stroke-opacity: .7; stroke-width: 1.2; }
.overview .house { fill-opacity: .07; stroke-opacity: .5; stroke-dasharray: 5 4; }
.overview .way { fill: none; stroke: var(--way); stroke-width: 2.4; marker-end: url(#overview-head); }
.overview .head { fill: var(--way); }
.overview .outside { fill: var(--outside); stroke: var(--outside); }
.overview .project { fill: var(--project); stroke: var(--project); }
.overview .workers { fill: var(--workers); stroke: var(--workers); }
.overview .backends { fill: var(--backends); stroke: var(--backends); }
@media (prefers-color-scheme: dark) {
  .overview { --ink: var(--color-foreground-primary, #e6edf3); --soft: var(--color-foreground-secondary, #9da7b3);
    --paper: var(--color-background-primary, #131416); }
}
"""

DESCRIPTION = (
    "One project runs as several worker processes on several machines. Each worker has your spider and pipelines and "
    "fetches pages from sites; items go to your feeds and databases. New requests and acknowledgements go to the "
    "backend, a Redis or Valkey server, which holds the queue, the leases, the filter, the limits and the dead "
    "letters, and leases requests to the workers. scrapy mocra and scrapy cron work on the backend from any shell."
)


def _machine(box: Box) -> Iterator[str]:
    place = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="10"'
    yield f'<rect class="house {box.kind}" {place}/>'
    yield f'<text class="note corner" x="{box.x + 14}" y="{box.y + box.height - 7}">{escape(box.name)}</text>'


def _box(box: Box) -> Iterator[str]:
    place = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="7"'
    yield f'<rect class="paper" {place}/><rect class="box {box.kind}" {place}/>'
    x = box.x + box.width // 2
    free = box.height - 18 - 18 * len(box.lines)
    y = box.y + max(free, 0) // 2 + 17
    yield f'<text class="name" x="{x}" y="{y}">{escape(box.name)}</text>'
    for at, line in enumerate(box.lines, 1):
        yield f'<text class="note" x="{x}" y="{y + 18 * at}">{escape(line)}</text>'


def _lines() -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="overview" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="overview-title overview-text">'
    )
    yield '<title id="overview-title">Project, workers and backend</title>'
    yield f'<desc id="overview-text">{escape(DESCRIPTION)}</desc>'
    yield f"<style>{STYLE}</style>"
    yield (
        '<defs><marker id="overview-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="5" markerHeight="5" '
        'orient="auto"><path class="head" d="M0 0 L10 5 L0 10 z"/></marker></defs>'
    )
    for box in MACHINES:
        yield from _machine(box)
    for path in ARROWS:
        yield f'<path class="way" d="{path}"/>'
    for box in BOXES:
        yield from _box(box)
    for x, y, words in WORDS:
        yield f'<text class="note corner" x="{x}" y="{y}">{escape(words)}</text>'
    yield "</svg>"


def draw() -> str:
    """The picture."""
    return "\n".join(_lines()) + "\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(draw(), encoding="utf-8")
