"""What a worker did, in a few numbers: read from its stats when somebody asks, so that a page costs
nothing; added up over workers; told to a person.

======================  ========================================================================
figure                  what it counts
======================  ========================================================================
``pages``               responses other than robots.txt and files of media pipelines
``files``               files and images that were downloaded
``items``               items that left the pipelines; ``dropped``, ``failed``: those that did not
``requests``, ``bytes`` sent; received, headers included
``error/<kind>``        attempts that ended so, by :mod:`mocra_scrapy.models.failure_kinds`
``retries``             requests put back because they had failed; ``gave_up``: used up
``deferred``            requests put off because their site asked to wait
``given_up_slots``      slots that were given up, see ``MOCRA_STALL_MAX``
``dead/<reason>``       dead letters, records included
``skip/<why>``          what was found and not crawled, see :data:`SKIPPED`
``late``                output of callbacks that came after their time-out
``local``               requests that stayed in memory because they can't be stored
======================  ========================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from mocra_scrapy.models.budgets import COUNTED
from mocra_scrapy.models.failure_kinds import (
    CALLBACK_TIMEOUT,
    PARSE,
    PIPELINE,
    kind_of_class,
    kind_of_status,
)
from mocra_scrapy.models.wording import plural

#: What ``MOCRA_BUDGETS`` limits.
BUDGETS = ("depth", *COUNTED)
#: Figure -> the stat that holds it.
PLAIN = {
    "items": "item_scraped_count",
    "dropped": "item_dropped_count",
    "failed": "mocra/item/failed",
    "requests": "downloader/request_count",
    "bytes": "downloader/response_bytes",
    "gave_up": "retry/max_reached",
    "deferred": "mocra/retry/deferred",
    "given_up_slots": "mocra/stall/given_up",
    "late": "mocra/callback/late_output",
    "local": "mocra/scheduler/unserializable",
    "released": "mocra/callback/handed_back",
    "skip/offsite": "offsite/filtered",
    "skip/robots": "robotstxt/forbidden",
    "skip/duplicates": "dupefilter/filtered",
    "skip/url_length": "urllength/request_ignored_count",
    "skip/trap": "mocra/trap/filtered",
    "skip/status": "httperror/response_ignored_count",
    **{f"skip/budget/{which}": f"mocra/budget/refused/{which}" for which in BUDGETS},
    "skip/lost": "mocra/scheduler/enqueue_failed",
    "dead/callback": "mocra/dead/callback",
    "dead/callback_timeout": "mocra/dead/callback_timeout",
    "dead/child_lost": "mocra/dead/child_lost",
    "dead/download": "mocra/dead/download",
    "dead/item": "mocra/dead/item",
    "dead/offsite": "mocra/dead/offsite",
    "dead/retry": "mocra/dead/retry",
    "dead/seed": "mocra/dead/seed",
    "dead/stalled": "mocra/dead/stalled",
    "dead/deliveries": "mocra/queue/given_up",
    "dead/unreadable": "mocra/scheduler/unreadable",
}
#: Why something was not crawled: in the order in which a request meets it.
SKIPPED = {
    "skip/offsite": "offsite",
    "skip/depth": "deeper than DEPTH_LIMIT",
    "skip/url_length": "URL longer than URLLENGTH_LIMIT",
    "skip/trap": "links into traps (MOCRA_TRAPS)",
    "skip/duplicates": "seen before",
    **{f"skip/budget/{which}": f"over a budget of {which}" for which in BUDGETS},
    "skip/lost": "neither stored nor kept",
    "skip/robots": "forbidden by robots.txt",
    "skip/status": "answers whose status the spider does not handle",
}
STATUSES, EXCEPTIONS = "downloader/response_status_count/", "downloader/exception_type_count/"
ROBOTS = "robotstxt/response_status_count/"
FILES = ("file_status_count/downloaded", "file_status_count/cached")

Figures = dict[str, float]


def figures_of(stats: Mapping[str, Any]) -> Figures:
    """The figures of one worker. What no stat tells is left out: it is 0."""
    found: Figures = {name: _number(stats.get(stat)) for name, stat in PLAIN.items()}
    found["files"] = sum(_number(stats.get(name)) for name in FILES)
    answers = _number(stats.get("response_received_count")) - _number(stats.get("robotstxt/response_count"))
    found["pages"] = max(0, answers - found["files"])
    found["retries"] = _number(stats.get("retry/count")) + _number(stats.get("mocra/retry/errors"))
    # Scrapy counts it since 2.18 or so; where it does not, we do.
    found["skip/depth"] = max(
        _number(stats.get("depth/request_ignored_count")), _number(stats.get("mocra/depth/filtered"))
    )
    timeouts = _number(stats.get("mocra/callback/timeouts"))
    found[f"error/{CALLBACK_TIMEOUT}"] = timeouts
    found[f"error/{PARSE}"] = max(0, _number(stats.get("spider_exceptions/count")) - timeouts)
    found[f"error/{PIPELINE}"] = found["failed"]
    for stat, value in stats.items():
        if not isinstance(stat, str):
            continue
        if stat.startswith(STATUSES):
            status = stat.removeprefix(STATUSES)
            kind = kind_of_status(int(status)) if status.isdecimal() else ""
            # A site without a robots.txt is no failing site.
            _add(found, kind, _number(value) - _number(stats.get(ROBOTS + status)))
        elif stat.startswith(EXCEPTIONS):
            _add(found, _kind_of_path(stat.removeprefix(EXCEPTIONS)), _number(value))
    return {name: value for name, value in found.items() if value}


def added(all_figures: Iterable[Mapping[str, float]]) -> Figures:
    """The sum, figure by figure."""
    total: Figures = {}
    for figures in all_figures:
        for name, value in figures.items():
            total[name] = total.get(name, 0) + value
    return total


def errors_in(figures: Mapping[str, float]) -> float:
    """How many attempts failed, of any kind."""
    return sum(value for name, value in figures.items() if name.startswith("error/"))


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else 0  # a project may put anything under any name


def _add(found: Figures, kind: str, count: float) -> None:
    if kind and count > 0:
        found[f"error/{kind}"] = found.get(f"error/{kind}", 0) + count


def _kind_of_path(path: str) -> str:
    """Of an exception by its import path, as the stats name it: the class was raised here, so its
    module is loaded.
    """
    module, _, name = path.rpartition(".")
    cls = getattr(sys.modules.get(module), name, None)
    if isinstance(cls, type) and issubclass(cls, BaseException):
        return kind_of_class(cls)
    return "broken"


# ------------------------------------------------------------------ for a person


def lines(figures: Mapping[str, float], seconds: float, letters: str, skipped: Iterable[str] = ()) -> list[str]:
    """The figures as a table.

    Args:
        seconds: for which was worked.
        letters: what to do about dead letters.
        skipped: examples of what was not crawled.
    """
    get, minutes = figures.get, max(seconds, 0.001) / 60

    def rate(name: str) -> str:
        return f"{amount(get(name, 0))} ({amount(get(name, 0) / minutes)} a minute)"

    def requests(name: str) -> str:
        return f"{amount(get(name, 0))} {plural(get(name, 0), 'request')}"

    rows = [("pages", rate("pages")), ("items", rate("items") + _items(figures))]
    if get("files"):
        rows.insert(1, ("files", rate("files")))
    rows.append(("errors", _by_name(figures, "error/")))
    rows.append(
        ("retries", amount(get("retries", 0)) + (f", {amount(get('gave_up', 0))} used up" if get("gave_up") else ""))
    )
    if get("deferred"):
        rows.append(("deferred", f"{amount(get('deferred', 0))} times without a retry: the site asked to wait"))
    if get("given_up_slots"):
        number = get("given_up_slots", 0)
        rows.append(("given up", f"{amount(number)} {plural(number, 'slot')} of which nothing succeeded any more"))
    dead = _by_name(figures, "dead/")
    rows.append(("dead letters", f"{dead}; {letters}" if dead != "none" else dead))
    reasons = [f"{amount(get(name, 0))} {why}" for name, why in SKIPPED.items() if get(name)]
    rows.append(("not crawled", ", ".join(reasons) or "nothing that was found"))
    rows += [("", text) for text in skipped]
    if get("local"):
        rows.append(("not storable", f"{requests('local')} stayed in their worker's memory"))
    if get("late"):
        rows.append(
            ("late output", f"{amount(get('late', 0))} dropped (requests and items), after their callback's time-out")
        )
    if get("released"):
        rows.append(("let go", f"{requests('released')} in flight that the stop did not wait for"))
    rows.append(("received", f"{size(get('bytes', 0))} for {requests('requests')}, robots.txt included"))
    rows.append(("time", duration(seconds)))
    return [f"  {name:<13}{text}" for name, text in rows]


def _items(figures: Mapping[str, float]) -> str:
    told = [
        f"{amount(figures[name])} {word}"
        for name, word in (("dropped", "dropped"), ("failed", "failed in a pipeline"))
        if figures.get(name)
    ]
    return f", {', '.join(told)}" if told else ""


def _by_name(figures: Mapping[str, float], prefix: str) -> str:
    """``12: timeout 8, http_5xx 4``, the most frequent first."""
    found = sorted(
        ((n, name.removeprefix(prefix)) for name, n in figures.items() if name.startswith(prefix)),
        key=lambda x: (-x[0], x[1]),
    )
    return (
        f"{amount(sum(n for n, _ in found))}: {', '.join(f'{name} {amount(n)}' for n, name in found)}"
        if found
        else "none"
    )


def amount(number: float) -> str:
    """``1,234``; below ten with one decimal, where it has any."""
    return f"{number:,.0f}" if number >= 10 or float(number).is_integer() else f"{number:.1f}"


def size(number: float) -> str:
    """``12.3 kB``, ``4.5 MB``."""
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB"


def duration(seconds: float) -> str:
    """``2 h 3 min``, ``3 min 4 s``, ``4.5 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
