"""A sign of life proves deaths, and never anything else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from mocra_scrapy.runtime import sign_of_life
from mocra_scrapy.runtime.sign_of_life import Signs, private_folder, this_kernel
from tests.services import warm
from tests.services.processes import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which kernel this is")

BEGIN = """
    import os, sys, time
    from pathlib import Path
    from mocra_scrapy.runtime.sign_of_life import Signs

    signs = Signs("crawl", Path(sys.argv[1]))
"""
HOLDER = f"""{BEGIN}
    print(signs.give(sys.argv[2]), flush=True)
    sys.stdin.read()
    signs.take_back(sys.argv[2])
"""


FINDER = f"""{BEGIN}
    print("ready", flush=True)
    sys.stdin.read()
    for one in signs.dead():
        with one:
            print(one.name)
            one.forget()
"""


@contextlib.contextmanager
def processes(program: str, root: Path, *names: str) -> Iterator[tuple[list[warm.AnyProcess], IO[bytes]]]:
    """One for each name, when each has said its first line; their standard input, to be closed."""
    stdin, write = os.pipe()
    ours = os.fdopen(write, "wb")
    started: list[warm.AnyProcess] = []
    try:
        for name in names:
            command = [sys.executable, "-c", textwrap.dedent(program), str(root), name]
            started.append(warm.start(command, cwd=root.parent, stdin=stdin, stdout=subprocess.PIPE))
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() in (b"True\n", b"ready\n")
        yield started, ours
    finally:
        os.close(stdin)
        ours.close()
        for process in started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def is_dead_and_not_buried(process: warm.AnyProcess) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def dead(signs: Signs) -> list[str]:
    found = []
    for one in signs.dead():
        with one:
            found.append(one.name)
    return found


def test_only_a_process_that_is_gone_is_dead(tmp_path: Path) -> None:
    signs = Signs("crawl", tmp_path)
    assert signs.give("me")
    with processes(HOLDER, tmp_path, "other") as ([process], _):
        assert dead(signs) == []
        os.kill(process.pid, signal.SIGSTOP)
        assert dead(signs) == [], "it is stopped, not dead"
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: is_dead_and_not_buried(process))
        assert dead(signs) == ["other"]
        assert dead(Signs("another crawl", tmp_path)) == []
    assert dead(signs) == ["other"], "until somebody has told of it"
    for one in signs.dead():
        with one:
            assert one.is_worker
            assert dead(Signs("crawl", tmp_path)) == [], "one looker at a time"
            one.forget()
    assert dead(signs) == []


def test_who_leaves_in_order_leaves_nothing(tmp_path: Path) -> None:
    signs = Signs("crawl", tmp_path)
    assert signs.folder is not None
    with processes(HOLDER, tmp_path, "other") as ([process], stdin):
        assert [path.name for path in signs.folder.iterdir()] == ["other"]
        stdin.close()
        assert process.wait(150) == 0
    assert not signs.folder.exists()
    assert dead(signs) == []
    assert signs.give("next"), "a folder that was removed is made anew"
    signs.take_back("next")
    signs.take_back("next")


def test_a_forked_child_keeps_the_sign(tmp_path: Path) -> None:
    """It may be what still works for the worker: then the lease decides."""
    program = HOLDER.replace("sys.stdin.read()", "os.fork(); time.sleep(600)")
    children: list[str] = []

    def forked(pid: int) -> bool:
        children[:] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return bool(children)

    try:
        with processes(program, tmp_path, "other") as ([process], _):
            eventually(lambda: forked(process.pid))
            process.kill()
            process.wait()
            assert dead(Signs("crawl", tmp_path)) == []
    finally:
        for pid in children:
            os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: dead(Signs("crawl", tmp_path)) == ["other"])


def test_where_nothing_can_be_known_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("fcntl", None), ("this_kernel", lambda: None), ("private_folder", lambda root: None)):
        with monkeypatch.context() as patched:
            patched.setattr(sign_of_life, name, value)
            signs = Signs("crawl", tmp_path)
            assert not signs.give("me")
            assert dead(signs) == []
            signs.take_back("me")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    folder = private_folder(tmp_path)
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    assert private_folder(tmp_path) is None
    folder.rmdir()
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)
    assert private_folder(tmp_path) is None
    assert not Signs("crawl", tmp_path).give("me")


def test_another_kernel_or_container_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their files lie there unlocked as far as this kernel knows."""
    now = this_kernel()
    assert now is not None
    boot, _, namespace = now.rpartition("-")
    for other in (f"{boot}-{int(namespace) + 1}", f"{'0' * len(boot)}-{namespace}"):
        monkeypatch.setattr(sign_of_life, "this_kernel", lambda other=other: other)
        signs = Signs("crawl", tmp_path)
        assert signs.give("theirs")
        os.close(signs._held.pop("theirs"))  # it has died, there
        monkeypatch.setattr(sign_of_life, "this_kernel", lambda: now)
        ours = Signs("crawl", tmp_path)
        assert dead(ours) == []
        assert signs.folder is not None
        assert signs.folder.exists() == other.startswith(boot), "what an earlier boot left is removed"


def test_what_nobody_goes_on_with_is_removed(tmp_path: Path) -> None:
    folders = []
    for crawl, lives in (("old", False), ("alive", True), ("new", False)):
        signs = Signs(crawl, tmp_path)
        assert signs.give("w")
        assert signs.give("x")
        os.close(signs._held.pop("w"))
        if not lives:
            os.close(signs._held.pop("x"))
        assert signs.folder is not None
        folders.append(signs.folder)
        if crawl != "new":
            long_ago = time.time() - sign_of_life.OLD - 60
            os.utime(signs.folder, (long_ago, long_ago))
    Signs("another", tmp_path)
    assert [folder.exists() for folder in folders] == [False, True, True]
    assert [path.name for path in folders[1].iterdir()] == ["x"]


def test_names_from_elsewhere_name_no_files(tmp_path: Path) -> None:
    signs = Signs("crawl", tmp_path)
    for name in ("../../x", "", ".", "..", "a/b", "a\0b", "a\nb", "x" * 300, "ä"):
        assert not signs.give(name)
    assert not list(tmp_path.rglob("x*"))
    assert signs.give("me")
    assert signs.folder is not None
    for name in ("half.new", "ödd"):
        (signs.folder / name).touch()
    found = {one.name: one.is_worker for one in signs.dead()}
    assert found == {"half.new": False, "ödd": False}


def test_one_process_may_hold_several(tmp_path: Path) -> None:
    signs, others = Signs("crawl", tmp_path), Signs("crawl", tmp_path)
    assert signs.give("a")
    assert others.give("b")
    assert dead(signs) == dead(others) == []
    signs.take_back("a")
    assert dead(others) == []
    others.take_back("b")


def test_everybody_looks_at_once_and_one_finds(tmp_path: Path) -> None:
    for n in range(20):
        signs = Signs("crawl", tmp_path)
        assert signs.give(f"w{n}")
        os.close(signs._held.pop(f"w{n}"))
    with processes(FINDER, tmp_path, "a", "b", "c") as (finders, stdin):
        stdin.close()  # what all of them wait for
        found = [process.stdout.read().decode().split() for process in finders if process.stdout is not None]
        assert [process.wait(150) for process in finders] == [0, 0, 0]
    assert sorted(name for names in found for name in names) == sorted(f"w{n}" for n in range(20))
