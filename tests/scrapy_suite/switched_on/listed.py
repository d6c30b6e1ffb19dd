"""A pytest plugin (``-p listed``): what is listed in ``differences.txt`` must fail, all else must
pass, and each line of the lists must name a test. With ``SCRAPY_SUITE_ONLY=quick`` it leaves out
what ``files.txt`` says is not for ``make test``.
"""

import gc
import os
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1]
LIST = FOLDER / "differences.txt"
FILES = FOLDER / "files.txt"
#: Scrapy gives the processes of its tests 5 or 15 seconds, which are enough on a machine that does nothing else.
PATIENCE = 240
#: Look at the first warning that is recorded. Sockets of an earlier test that are collected just then warn, too.
ALONE_WITH_THEIR_WARNINGS = ("::test_start_deprecated_super",)


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


def left_out():
    """``(pattern of test ids, reason)`` of the tests of quick files that are not for ``make test``."""
    found, file = [], ""
    for line in FILES.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            pattern, _, reason = line.strip().partition(": ")
            found.append((f"{file}::{pattern}", reason))
        elif line.startswith("tests/"):
            file = line.split()[0]
    return found


def fits(item, pattern):
    return fnmatchcase(item.nodeid, pattern.replace("[", "[[]"))


def pytest_configure(config):
    from pexpect.popen_spawn import PopenSpawn

    # A pytest that is newer than these tests has more to warn of, and they take warnings for errors.
    if hasattr(pytest, "PytestRemovedIn10Warning"):
        config.addinivalue_line("filterwarnings", "ignore::pytest.PytestRemovedIn10Warning")
    run, begin = subprocess.run, PopenSpawn.__init__

    def patient_run(*args, timeout=None, **kwargs):
        return run(*args, timeout=timeout and max(timeout, PATIENCE), **kwargs)

    def patient_begin(self, *args, timeout=30, **kwargs):
        begin(self, *args, timeout=timeout and max(timeout, PATIENCE), **kwargs)

    subprocess.run, PopenSpawn.__init__ = patient_run, patient_begin


def take_the_place(items):
    """Scrapy's tests of a component are for ours as well, where ours is in its place only if a project asks for it."""
    for item in items:
        if item.nodeid.startswith("tests/test_downloadermiddleware_cookies.py"):
            from mocra_scrapy.downloadermiddlewares.cookies import CookiesMiddleware

            item.module.CookiesMiddleware = CookiesMiddleware


def pytest_collection_modifyitems(config, items):
    take_the_place(items)
    unused = dict(differences(os.environ["SCRAPY_SUITE"]))
    for pattern, reason in list(unused.items()):
        for item in items:
            if fits(item, pattern):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
                unused.pop(pattern, None)
    if os.environ.get("SCRAPY_SUITE_ONLY") == "quick":
        patterns = dict(left_out())
        out = [item for item in items if any(fits(item, pattern) for pattern in patterns)]
        unused |= {pattern: why for pattern, why in patterns.items() if not any(fits(item, pattern) for item in out)}
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
    files = {item.nodeid.partition("::")[0] for item in items}
    lost = [pattern for pattern in unused if pattern.partition("::")[0] in files]
    if lost and not config.option.keyword:
        raise pytest.UsageError(f"The lists name tests that are not there: {', '.join(lost)}. Delete these lines")


def pytest_runtest_setup(item):
    if item.nodeid.endswith(ALONE_WITH_THEIR_WARNINGS):
        gc.collect()
        gc.disable()


def pytest_runtest_teardown(item):
    gc.enable()
