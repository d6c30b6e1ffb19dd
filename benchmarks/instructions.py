"""What a request costs the server in instructions, whatever else the machine does: ``python benchmarks/instructions.py
[--scripts] [--hosts 1,100,2000]``, in the folder of the tree that is measured: so another state can be measured by this
file, too. Needs valgrind. It prints a line of JSON for each row of ``python -m benchmarks limits``.

``--scripts``: the exchange is a script, as where a server has no functions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())

import redis

from benchmarks import limits, servers

REQUESTS = 2000
PATIENT = "socket_timeout=600"  # s: valgrind takes fifty times as long


class Counted:
    """A Redis server under callgrind, which counts from the first call of :meth:`cpu` to the second, then from the
    third to the fourth, …
    """

    def __init__(self, process: subprocess.Popen[Any], folder: Path, port: int) -> None:
        self.process, self.folder, self.port = process, folder, port
        self.counts = False

    def cpu(self, server: Any) -> float:
        """Stands for :func:`benchmarks.limits.cpu`: instructions since the call before."""
        self.counts = not self.counts
        if self.counts:
            self._tell("--zero")
            self._tell("--instr=on")
            return 0.0
        self._tell("--instr=off")
        self._tell("--dump")
        last = max(self.folder.glob("out*"), key=lambda path: path.stat().st_mtime)
        return float(re.findall(r"^(?:totals|summary): (\d+)", last.read_text(), re.MULTILINE)[-1])

    def _tell(self, what: str) -> None:
        subprocess.run(["callgrind_control", what, str(self.process.pid)], check=True, capture_output=True)


@contextmanager
def counted_server() -> Iterator[Counted]:
    binary = shutil.which("redis-server")
    if binary is None or shutil.which("valgrind") is None:
        raise SystemExit("redis-server and valgrind are needed")
    port = servers.free_port()
    with tempfile.TemporaryDirectory(prefix="bench-callgrind-") as folder:
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out", binary]
        command += ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, "--hz", "1"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            with redis.Redis(port=port, socket_timeout=600) as client:
                while True:
                    try:
                        client.ping()
                        break
                    except redis.ConnectionError:
                        if time.monotonic() > deadline:
                            raise
                        time.sleep(0.1)
            yield Counted(process, Path(folder), port)
        finally:
            servers.end(process)


async def measure(hosts: list[int]) -> None:
    with counted_server() as server:
        limits.cpu = server.cpu  # type: ignore[assignment]
        url = f"redis://127.0.0.1:{server.port}/0?{PATIENT}"
        for name, limit in limits.LIMITS.items():
            for number in hosts:
                cost = await limits.hand_outs(url, server, number, limit, REQUESTS)  # type: ignore[arg-type]
                print(json.dumps({"limit": name, "hosts": number, "instructions": round(cost)}), flush=True)


def send_scripts() -> None:
    from mocra_scrapy.backends.redis.connection.scripts import Script

    Script.function = None  # type: ignore[assignment]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scripts", action="store_true")
    parser.add_argument("--hosts", default="1,100,2000")
    options = parser.parse_args()
    if options.scripts:
        send_scripts()
    asyncio.run(measure([int(number) for number in options.hosts.split(",")]))


if __name__ == "__main__":
    main()
