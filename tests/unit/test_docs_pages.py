"""Pages of the docs that no other test reads: cross references, the overview, units and manifests of
the deployment guide, the changelog.
"""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.settings import default_settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DEPLOYMENT = (DOCS / "guides" / "deployment.rst").read_text(encoding="utf-8")
BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def blocks(kind: str) -> list[str]:
    return [textwrap.dedent(text) for found, text in BLOCK.findall(DEPLOYMENT) if found == kind]


def pages() -> list[Path]:
    return [path for path in sorted(DOCS.rglob("*.rst")) if "_build" not in path.parts]


def test_each_setting_has_an_anchor() -> None:
    text = (DOCS / "reference" / "settings.rst").read_text(encoding="utf-8")
    for name in (name for name in dir(default_settings) if name.startswith("MOCRA_")):
        assert f"\n.. setting:: {name}\n\n``{name}`` (default" in text, (
            f"write .. setting:: {name} and an empty line above it"
        )
    assert text.count(".. setting:: ") == len(set(re.findall(r"^\.\. setting:: (\w+)$", text, re.MULTILINE)))


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(DOCS)))
def test_references_to_settings_lead_somewhere(page: Path) -> None:
    for name in re.findall(r":setting:`([^`]*)`", page.read_text(encoding="utf-8")):
        assert hasattr(default_settings, name), f"{page.name}: :setting:`{name}`"


def test_the_overview_is_that_of_its_source() -> None:
    source = runpy.run_path(str(DOCS / "pictures" / "overview.py"))
    assert source["TARGET"].read_text(encoding="utf-8") == source["draw"](), "run python docs/pictures/overview.py"
    for box in (*source["MACHINES"], *source["BOXES"]):
        assert box.x + box.width <= source["WIDTH"]
        assert box.y + box.height <= source["HEIGHT"]


def test_a_worker_gets_the_time_that_it_needs_to_stop() -> None:
    needed = default_settings.MOCRA_STOP_GRACE + 2 * default_settings.MOCRA_STOP_TIMEOUT
    assert f"That is {needed:.0f} seconds with the defaults" in DEPLOYMENT
    given = re.findall(r"(?:TimeoutStopSec=|--stop-timeout |terminationGracePeriodSeconds: )(\d+)", DEPLOYMENT)
    assert len(given) >= 3
    assert all(int(seconds) > needed for seconds in given)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_units_are_understood_by_systemd(tmp_path: Path) -> None:
    units = [text for text in blocks("text") if "[Service]" in text]
    assert units
    for number, text in enumerate(units):
        unit = tmp_path / f"shop{number}@.service"
        unit.write_text(text.replace("/srv/shop/.venv/bin/scrapy", sys.executable), encoding="utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"shop{number}@1.service")],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert [line for line in done.stderr.splitlines() if "shop" in line] == []


def test_the_changelog_is_shown() -> None:
    conf: dict[str, Any] = runpy.run_path(str(DOCS / "conf.py")) if _sphinx() else pytest.skip("no Sphinx")
    convert = conf["markdown_to_rst"]
    assert convert("# Changes\n\n## 0.1.0\n\n### Cron\n\n* `scrapy cron`, `MOCRA_CRON` and `MOCRA_*`.") == (
        "\n0.1.0\n-----\n\nCron\n~~~~\n\n* ``scrapy cron``, :setting:`MOCRA_CRON` and ``MOCRA_*``."
    )


def _sphinx() -> bool:
    try:
        import sphinx  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True
