"""A pytest plugin (``-p listed``): what is listed in ``differences.txt`` must fail, all else must
pass, and each line of the list must name a test.
"""

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

LIST = Path(__file__).parents[1] / "differences.txt"


def differences(which):
    """``(pattern of test ids, reason)`` of the list that hold for *which*, newest or oldest."""
    found, reason = [], ""
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            only, _, pattern = line.strip().rpartition(" ")
            if only in ("", which):
                found.append((pattern, reason))
        elif line and not line.startswith("#"):
            reason = line
    return found


def pytest_collection_modifyitems(config, items):
    unused = dict(differences(os.environ["SCRAPY_SUITE"]))
    for pattern, reason in list(unused.items()):
        for item in items:
            if fnmatchcase(item.nodeid, pattern.replace("[", "[[]")):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
                unused.pop(pattern, None)
    files = {item.nodeid.partition("::")[0] for item in items}
    lost = [pattern for pattern in unused if pattern.partition("::")[0] in files]
    if lost and not config.option.keyword:
        raise pytest.UsageError(f"{LIST.name} names tests that are not there: {', '.join(lost)}. Delete these lines")
