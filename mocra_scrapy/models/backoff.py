"""How long a retry waits."""

from __future__ import annotations

import random


def backoff(attempt: int, base: float, cap: float) -> float:
    """Seconds before the *attempt*-th retry (from 1): exponential with full jitter, so that what
    failed together comes back apart.
    """
    return random.uniform(0, min(cap, base * 2.0 ** min(attempt - 1, 60)))  # noqa: S311
