"""``scrapy mocra budgets``: its command line."""

from __future__ import annotations

import argparse

import pytest

from mocra_scrapy.commands.verbs.budgets import LINES, verb


def test_lines_are_a_number_from_1_on(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    verb().add_options(parser)
    assert parser.parse_args([]).lines == LINES
    assert parser.parse_args(["look", "--lines", "3"]).lines == 3
    for wrong in ("0", "-1", "many"):
        with pytest.raises(SystemExit):
            parser.parse_args(["look", f"--lines={wrong}"])
        assert f"--lines: '{wrong}' is not a number from 1 on" in capsys.readouterr().err
