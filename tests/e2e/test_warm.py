"""A forked process is like one that was started: see :mod:`tests.services.warm`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.services import warm
from tests.services.processes import eventually, unmeasured

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(warm.zygote() is None, reason="only on Linux, and not TESTS_COLD")]

ROOT = Path(__file__).parents[2]
#: What a process can tell of itself.
TELL = """
import asyncio, atexit, gc, json, logging, os, random, signal, sys, threading, time, warnings
told = {
    "arguments": (sys.argv, sys.orig_argv, sys.flags[:]),
    "path": sys.path,
    "where": (os.getcwd(), dict(os.environ), os.umask(0o22), os.getpgid(0), os.getsid(0), time.tzname),
    "files": sorted(set(os.listdir("/proc/self/fd")) - {str(os.open("/", os.O_RDONLY))}),
    "streams": [(s.name, s.encoding, s.errors, s.line_buffering, s.write_through, type(s.buffer).__name__)
                for s in (sys.stdin, sys.stdout, sys.stderr)],
    "signals": [str(signal.getsignal(n)) for n in signal.valid_signals()] + [signal.set_wakeup_fd(-1)],
    "masked": str(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "main": (__name__, sys.modules["__main__"].__dict__ is globals(), sorted(set(globals()) & {"run", "Zygote"})),
    "threads": threading.active_count(),
    "root": (logging.root.level, logging.root.handlers, logging.root.manager.disable),
    "reactor": "twisted.internet.reactor" in sys.modules,
    "gc": (gc.isenabled(), gc.get_threshold()),
    "read": sys.stdin.read(),
}
print(json.dumps(told))
print("on the way", file=sys.stderr)
atexit.register(print, "at the end")
random.random()
"""


def told(cold: bool, folder: Path, **more: str) -> dict[str, Any]:
    environment = {**unmeasured(), "SAID": "so", "PYTHONPATH": f"one{os.pathsep}/two", "PYTHONUNBUFFERED": "1", **more}
    command = [sys.executable, "-c", TELL, "-x", "y"]
    done = warm.run(command, folder, 60, environment, "words", cold=cold)
    known, *rest = done.stdout.splitlines()
    return {"code": done.returncode, "after": rest, "errors": done.stderr, **json.loads(known)}


@pytest.mark.parametrize("more", [{}, {"PYTHONUNBUFFERED": ""}, {"TZ": "Asia/Tokyo"}, {"PYTHONWARNINGS": "error"}])
def test_it_knows_the_same_of_itself(more: dict[str, str], tmp_path: Path) -> None:
    assert told(False, tmp_path, **more) == told(True, tmp_path, **more)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit(3)", 3),
        ("raise SystemExit('why')", 1),
        ("1 / 0", 1),
        ("import os; os._exit(9)", 9),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM),
        ("import threading, time; threading.Thread(target=print, args=['after']).start()", 0),
        ("import sys; sys.stdout.close(); print('closed', file=sys.stderr)", 0),
        ("import os; print('lost'); os.close(1); os.open('/dev/full', os.O_WRONLY)", 120),
    ],
)
def test_it_ends_the_same_way(code: str, expected: int, tmp_path: Path) -> None:
    environment = {**unmeasured(), "PYTHONUNBUFFERED": ""}
    forked, started = (
        warm.run([sys.executable, "-c", code], tmp_path, 60, environment, cold=cold) for cold in (False, True)
    )
    assert forked.returncode == started.returncode == expected
    assert forked.stdout == started.stdout
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


@pytest.mark.parametrize("cold", [False, True])
def test_what_is_left_open_is_told_at_the_end(cold: bool, tmp_path: Path) -> None:
    """A child doesn't take down all that its parent had imported, but what is its own."""
    (tmp_path / "mine.py").write_text("kept = open('/dev/zero')\n")
    code = "import warnings; warnings.simplefilter('always'); import mine; kept = open('/dev/null')"
    done = warm.run([sys.executable, "-c", code], tmp_path, 60, unmeasured(), cold=cold)
    told = [line for line in done.stderr.splitlines() if "ResourceWarning: unclosed file" in line]
    assert sorted(name for name in ("/dev/null", "/dev/zero") for line in told if name in line) == [
        "/dev/null",
        "/dev/zero",
    ]


def test_it_is_stopped_killed_and_kept_until_it_is_waited_for(tmp_path: Path) -> None:
    code = "import time; print('there', flush=True); time.sleep(600)"
    process = warm.start([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE)
    stat = Path(f"/proc/{process.pid}/stat")

    def state() -> str:
        return stat.read_text().rpartition(")")[2].split()[0]

    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == b"there\n"
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: state() == "T")
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: state() == "Z")  # its pid is nobody else's yet
    assert process.wait(90) == process.poll() == -signal.SIGKILL
    eventually(lambda: not stat.exists())
    process.kill()  # nobody is hit


def test_nothing_of_a_project_is_left_for_the_next(tmp_path: Path) -> None:
    for name in ("first", "second"):
        spider = f"import scrapy\n\n\nclass One(scrapy.Spider):\n    name = '{name}'\n"
        project = write_project(tmp_path / name, spider, ONE_LINE)
        assert scrapy(project, "list").stdout.split() == [name]


def test_all_end_with_the_process_that_wanted_them(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from tests.services import warm
process = warm.start([sys.executable, "-c", "import time; time.sleep(600)"], cwd=Path({str(tmp_path)!r}))
print(process.pid, flush=True)
sys.stdin.read()
"""
    owner = subprocess.Popen(
        [sys.executable, "-c", code], env=unmeasured(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        child = Path(f"/proc/{int(owner.stdout.readline())}")
        assert child.exists()
        owner.kill()
    eventually(lambda: not child.exists())


def test_it_is_measured_when_it_is_told_so(tmp_path: Path) -> None:
    config = tmp_path / "rc"
    config.write_text(f"[run]\nparallel = true\nsource_pkgs = mocra_scrapy\ndata_file = {tmp_path}/measured\n")
    environment: dict[str, Any] = {**unmeasured(), "COVERAGE_PROCESS_START": str(config)}
    done = warm.run([sys.executable, "-m", "scrapy", "mocra", "version"], tmp_path, 60, environment)
    assert done.returncode == 0, done.stderr
    files = list(tmp_path.glob("measured.*"))
    assert len(files) == 1
    import coverage

    data = coverage.CoverageData(str(files[0]))
    data.read()
    assert any(name.endswith("verbs/version.py") for name in data.measured_files())
