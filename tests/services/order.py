"""In which order tests run when several processes share them.

pytest-xdist gives each of its processes one part of the list, of as many tests as the others have, and a process that
is through takes some from the end of the longest rest. In the order of their folders one process would have most of
the tests that wait for processes of their own, and be the last, alone, on a machine that idles.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import TypeVar

Test = TypeVar("Test")
#: Folders of tests that wait most of the time.
WAITING = frozenset({"cache_suite", "e2e", "integration", "simulation"})


def in_parts(
    tests: Sequence[Test], count: int, waits: Callable[[Test], bool], file: Callable[[Test], Hashable]
) -> list[Test]:
    """*tests* so that each of *count* processes begins with some that wait and ends with short ones, which leave no
    long one for the end. Of those that wait a process has whole files: what is made once for a file is made once.
    """
    files: dict[Hashable, list[Test]] = {}
    for test in tests:
        if waits(test):
            files.setdefault(file(test), []).append(test)
    parts: list[list[Test]] = [[] for _ in range(count)]
    for number, members in enumerate(files.values()):
        parts[number % count] += members
    short = iter([test for test in tests if not waits(test)])
    found: list[Test] = []
    for number, part in enumerate(parts):
        size = (len(tests) - len(found)) // (count - number)  # as pytest-xdist has it
        found += part
        found += islice(short, max(0, size - len(part)))
    return [*found, *short]
