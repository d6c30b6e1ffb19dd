"""Options that count something, of every verb: from 1 on, and the message says so."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

import pytest

OPTIONS = [
    ("skipped", "verb", "--slots"),
    ("slots", "verb", "--top"),
    ("budgets", "verb", "--lines"),
    ("dead", "verb", "--limit"),
    ("worker", "verb", "--max"),
    ("site", "verb", "--pages"),
    ("cron_look", "Next", "-n"),
    ("cron_look", "History", "-n"),
]


@pytest.mark.parametrize(("module", "name", "option"), OPTIONS, ids=lambda value: value.strip("-"))
def test_what_counts_something_is_a_number_from_1_on(
    module: str, name: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made: Any = getattr(importlib.import_module(f"mocra_scrapy.commands.verbs.{module}"), name)()
    parser = argparse.ArgumentParser()
    made.add_options(parser)
    for wrong in ("-1", "0", "many", "2.5"):
        with pytest.raises(SystemExit):
            parser.parse_args([f"{option}={wrong}" if option.startswith("--") else f"{option}{wrong}"])
        assert f"{wrong!r} is not a number from 1 on" in capsys.readouterr().err
