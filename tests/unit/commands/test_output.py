"""What commands print may have a reader that leaves."""

from __future__ import annotations

import argparse
import os
import sys
from types import SimpleNamespace

import pytest
from scrapy.settings import Settings

from mocra_scrapy.commands import mocra


@pytest.mark.parametrize("lines", [1, 100_000], ids=["at the end", "in the middle"])
def test_a_reader_that_has_read_enough_gets_no_traceback(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`scrapy cron history | head`."""

    class Talkative:
        """A verb."""

        def add_options(self, parser: argparse.ArgumentParser) -> None: ...

        def run(self, options: argparse.Namespace, command: mocra.Command) -> int:
            for number in range(lines):
                print(number)
            return 0

    module = SimpleNamespace(verb=Talkative)
    monkeypatch.setattr(mocra, "import_module", lambda name: module)
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        command = mocra.Command()
        command.settings = Settings()
        command.run([], argparse.Namespace(verb="status", rest=[]))
        print("flushed at the end, to nobody")
    assert command.exitcode == 141
