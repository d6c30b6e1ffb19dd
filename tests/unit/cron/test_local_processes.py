"""What this machine knows of launchers."""

from __future__ import annotations

import os
import subprocess
import sys

from mocra_scrapy.cron.local_processes import launcher_lives, this_machine


def test_a_launcher_is_known_by_its_run() -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    arguments = [sys.executable, "-c", code, "shop@x"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "it has begun"
        assert launcher_lives(this_machine(), process.pid, "shop@x")
        assert not launcher_lives(this_machine(), process.pid, "shop@y"), "the pid belongs to somebody else by now"
        assert not launcher_lives("another machine", process.pid, "shop@x")
        assert not launcher_lives("", process.pid, "shop@x")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not launcher_lives(this_machine(), process.pid, "shop@x"), "dead, but not buried"
    assert not launcher_lives(this_machine(), process.pid, "shop@x")
