"""What became of a crawl: its outcome, by how it was stopped, its exit code, and its stats. Pure.

In this order:

1. It was told to stop, or took too long: that is its outcome.
2. It ended with an exit code other than 0, or wrote no stats: it failed, whatever ``success`` says
   of stats that are not there, unless ``success`` itself asks for ``exit_code``.
3. ``success``, where the job has one.
4. Else its finish reason: only ``finished`` succeeds (:data:`REASONS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mocra_scrapy.cron.expression import BadExpression, Expression

#: Finish reason -> outcome, and what it means. What stands here with an asterisk begins so.
REASONS = {
    "finished": ("succeeded", ""),
    "shutdown": ("stopped", "somebody told the crawl to stop"),
    "mocra_stopped": ("closed", "a person stopped the crawl (scrapy mocra control stop)"),
    "mocra_drained": ("drained", "a person let the crawl finish what it held (scrapy mocra control drain)"),
    "mocra_error_threshold": ("tripped", "too many downloads failed (MOCRA_BREAKER)"),
    "mocra_feed_failed": ("failed", "a feed could not be written; the log says why"),
    "closespider_errorcount": ("tripped", "it met as many errors as CLOSESPIDER_ERRORCOUNT allows"),
    "closespider_*": ("limited", "it reached a limit of the project"),
    "memusage_exceeded": ("overloaded", "it used more memory than MEMUSAGE_LIMIT_MB allows"),
}
STOPPED = {
    "cancelled": "a person cancelled it",
    "replaced": "the next run was due",
    "stopped": "its launcher was told to stop",
}


def judge(code: int, stats: Mapping[str, Any] | None, success: str, stopped: str, timeout: float) -> tuple[str, str]:
    """Outcome and reason (a sentence; empty: nothing is to be said).

    Args:
        code: the exit code; negative: ended by that signal.
        stats: what it reported; ``None``: nothing.
        success: the job's expression; empty: it has none.
        stopped: why it was told to stop; empty: it wasn't.
        timeout: seconds, for the reason.
    """
    if stopped == "timeout":
        return "timeout", f"it took longer than timeout = {timeout:g} s"
    if stopped:
        return stopped, STOPPED.get(stopped, "it was told to stop")
    try:
        wanted = Expression(success) if success else None
        asks = wanted is not None and "exit_code" in wanted.names
        failure = "" if asks else _broken(code, stats)
        if failure:
            return "failed", failure
        if wanted is not None:
            held = wanted.holds(run_stats(code, stats))
            return ("succeeded", "") if held else ("failed", f"{wanted.text} does not hold")
    except BadExpression as error:
        return "failed", str(error)
    return _by_reason(str((stats or {}).get("finish_reason", "")))


def _broken(code: int, stats: Mapping[str, Any] | None) -> str:
    if code != 0:
        how = f"it was ended by signal {-code}" if code < 0 else f"exit code {code}"
        return f"{how}; see its log"
    return "it wrote no stats: no crawl took place; see its log" if stats is None else ""


def _by_reason(finish: str) -> tuple[str, str]:
    known = REASONS.get(finish) or (REASONS["closespider_*"] if finish.startswith("closespider_") else None)
    if known is None:
        return "closed", f"it closed with the reason {finish!r}, not 'finished'"
    outcome, reason = known
    return outcome, f"{reason}: {finish}" if reason else ""


def run_stats(code: int, stats: Mapping[str, Any] | None) -> dict[str, Any]:
    """The names that expressions know: the stats, and ``exit_code``, ``items``, ``errors``."""
    known = dict(stats or {})
    items, errors = known.get("item_scraped_count", 0), known.get("log_count/ERROR", 0)
    return {**known, "exit_code": code, "items": items, "errors": errors}
