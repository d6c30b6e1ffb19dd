"""The HTTP working group's tests of caches, against a crawler with our middleware and our storage: what fails
is listed with a reason, and the documentation says what the run said.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SERVER = HERE / "http-cache-tests" / "test-engine" / "server"
GUIDE = ROOT / "docs" / "guides" / "cache-pages.rst"
FAILURES = tomllib.loads((HERE / "failures.toml").read_text(encoding="utf-8"))
#: s for a whole run: it takes 80 on a machine that does nothing else.
PATIENCE = 1500.0


def node() -> str:
    """Node.js 18 or later, which has ``fetch``."""
    found = shutil.which("node") or shutil.which("nodejs")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout if found else ""
    if found is None or not version or int(version.lstrip("v").partition(".")[0]) < 18:
        if os.environ.get("MOCRA_REQUIRE_SERVICES") == "1":
            pytest.fail("Node.js 18 or later is missing: run `make setup`, or install nodejs")
        pytest.skip("Node.js 18 or later is missing: run `make setup`, or install nodejs")
    return found


@asynccontextmanager
async def running(*command: str, cwd: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        await process.communicate()


async def first_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def suite(tmp_path: Path, scope: str, kind: str) -> dict[str, Any]:
    """id of a case -> what came of it."""
    program, port = node(), free_port()
    known = tmp_path / "known.json"
    known.write_text(json.dumps([case for cases in FAILURES.values() for case in cases]))
    settings = {
        "npm_config_protocol": "http",
        "npm_config_port": str(port),
        "npm_config_pidfile": str(tmp_path / "origin.pid"),
    }
    async with (
        running(program, "server.mjs", cwd=SERVER, **settings) as origin,
        running(sys.executable, "-m", "tests.cache_suite.proxy", scope, f"http://127.0.0.1:{port}", cwd=ROOT) as proxy,
    ):
        await first_line(origin)
        base = f"http://127.0.0.1:{await first_line(proxy)}"
        async with running(program, "run.mjs", base, kind, str(known), cwd=HERE) as run:
            told, _ = await asyncio.wait_for(run.communicate(), PATIENCE)
    assert told, "the suite did not come to its end"
    results: dict[str, Any] = json.loads(told)
    return results


def judged(results: dict[str, Any], *lists: str) -> dict[str, tuple[int, int]]:
    """kind -> how many passed, of how many; after what failed was compared with the list."""
    listed = {case for name in lists for case in FAILURES[name]}
    counted = {case: one for case, one in results.items() if one["kind"] != "check"}
    failed = {case: one["why"] for case, one in counted.items() if not one["passed"]}
    assert {case: why for case, why in failed.items() if case not in listed} == {}, "fail, and have no reason"
    assert listed - failed.keys() == set(), "pass, and are listed as failing"
    return {
        kind: (sum(one["passed"] for one in of), len(of))
        for kind in ("required", "optimal")
        if (of := [one for one in counted.values() if one["kind"] == kind])
    }


def told_in_the_guide(row: str) -> list[str]:
    """The cells of a row of its table."""
    found = re.search(
        rf"^   \* - {re.escape(row)}\n((?:     - .*\n)+)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert found is not None, f"no row {row!r}"
    return [line.strip(" -") for line in found[1].splitlines()]


def cells(scores: dict[str, tuple[int, int]]) -> list[str]:
    return [f"{passed} of {of}" for passed, of in scores.values()]


@pytest.mark.timeout(PATIENCE + 60)
@pytest.mark.parametrize("kind", os.environ.get("CACHE_SUITE", "private").split(","))
async def test_the_suite(tmp_path: Path, kind: str) -> None:
    """As a private cache; as a shared one in ``make soak``."""
    if kind == "shared":
        results = await suite(tmp_path, "all", "shared")
        scores = judged(results, "required", "optimal", "optimal-shared")
        assert told_in_the_guide("**mocra_scrapy**, all crawls") == cells(scores)
        return
    results = await suite(tmp_path, "crawl", "private")
    scores = judged(results, "required", "optimal")
    assert told_in_the_guide("**mocra_scrapy**, one crawl") == cells(scores)
    assert scores["required"][0] >= 125
    assert scores["optimal"][0] >= 56
    for suites, many in ((("vary", "vary-parse"), 15), (("invalidation",), 4), (("status",), 14), (("update304",), 7)):
        of = [one for one in results.values() if one["suite"] in suites and one["kind"] == "required"]
        assert [one["passed"] for one in of] == [True] * many, suites


def test_each_failure_stands_in_the_guide() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    for reasons in FAILURES.values():
        for case in reasons:
            assert f"``{case}``" in guide, case
