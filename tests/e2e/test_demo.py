"""What the README invites to: ``make crawl`` with three workers, and kill one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.services.processes import eventually, unmeasured

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

ROOT = Path(__file__).parents[2]


def test_the_demo_loses_nothing_when_one_is_killed(redis_url: str, tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "bin" / "scrapy").exists():
        pytest.skip("make crawl makes .venv first")
    out = tmp_path / "out"
    environment = {**unmeasured(), "WORKERS": "3", "BACKEND": redis_url, "PAGES": "300", "OUT": str(out)}
    said = tmp_path / "said"
    with said.open("wb") as file:
        demo = subprocess.Popen(["sh", "tools/crawl.sh"], cwd=ROOT, env=environment, stdout=file, stderr=file)
    written = out / "docs_crawl" / "items" / "docs.jsonl"
    try:
        eventually(
            lambda: demo.poll() is not None or (written.exists() and written.read_bytes().count(b"\n") > 50), 240
        )
        told = re.search(r"Kill one: kill -9 (\d+)", said.read_text())
        assert told, said.read_text()
        os.kill(int(told[1]), signal.SIGKILL)
        assert demo.wait(180) == 0, said.read_text()
    finally:
        demo.terminate()
        demo.wait(90)
    text = said.read_text()
    assert f"crawl: process {told[1]} was killed" in text
    items = [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]
    # What is linked is there: the first page's modules, and each page's neighbours.
    pages = {item["url"] for item in items}
    (address,) = re.findall(r"pages of (\S+)", text)
    assert len(pages) > 250
    assert f"crawl: {len(items)} items of {len(pages)} pages" in text
    assert address in pages
    assert all(url.startswith(address) for url in pages)
    assert pages == reachable(300, address), "every page of the site"


def reachable(pages: int, address: str) -> set[str]:
    """URLs of all pages that the same site has."""
    from mocra_scrapy.commands.docs_site import DocsSite

    site, todo, found = DocsSite(pages), ["/"], set[str]()
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            page = site.page(path)
            assert page is not None
            todo += re.findall(r'href="([^"]*)"', page.decode())
    return {address.rstrip("/") + path for path in found}
