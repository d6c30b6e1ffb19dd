"""How good a proxy is. Pure."""

from __future__ import annotations

#: Seconds that a proxy is taken to need of which nobody knows yet.
USUAL = 1.0
#: Seconds below which it makes no difference how fast one is.
FAST = 0.2
#: What the least successful one still counts, so that it's tried now and then.
LEAST = 0.01


def score(success: float, latency: float, weight: float = 1.0, load: int = 0) -> float:
    """How good a proxy is, between 0 (excluded) and ``weight / FAST``: twice the answers, or in half
    the time, is twice as good; so is half the load.

    Args:
        success: part of attempts that succeed, from 0 to 1.
        latency: seconds; 0: unknown.
        load: requests that are on their way through it.
    """
    seconds = latency if latency > 0 else USUAL
    return weight * max(LEAST, success) / max(FAST, seconds) / (1 + load)
