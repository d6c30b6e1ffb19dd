"""The event loop does not come round: told once, with the place, and once more when it is over."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from mocra_scrapy.runtime.watchdog import Watchdog

NAME = "mocra_scrapy.runtime.watchdog"


async def test_a_blockage_is_told_once_with_its_place_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog(40.0)  # its thread sleeps for ten seconds: the looks are ours
    with caplog.at_level(logging.WARNING, NAME):
        dog.start()
        began = dog._sign  # however long it took until here
        for seconds in (10, 20, 30):
            dog.look(began + seconds)
        assert caplog.messages == []
        for seconds in (41, 50, 60):
            dog.look(began + seconds)
        [told] = caplog.messages
        assert "blocked for 4" in told
        assert "test_a_blockage_is_told_once_with_its_place_and_its_end" in told
        dog._live()  # as the loop's timer does
        dog.look(time.monotonic())
        assert len(caplog.messages) == 2
        assert "The event loop goes on" in caplog.messages[1]
    dog.stop()
    dog.stop()


async def test_a_process_that_was_stopped_is_no_blockage(caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog(40.0)
    with caplog.at_level(logging.WARNING, NAME):
        dog.start()
        dog.look(dog._looked + 100)
    dog.stop()
    assert len(caplog.messages) == 1
    assert "The whole process stood still for 100.0 s" in caplog.messages[0]


async def test_a_real_blockage_is_seen_by_a_real_thread(caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog(0.1)
    told = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    handler = Handler(logging.ERROR)
    logging.getLogger(NAME).addHandler(handler)
    try:
        dog.start()
        assert told.wait(30), "this blocks the loop"
    finally:
        logging.getLogger(NAME).removeHandler(handler)
    dog.stop()
    assert "told.wait(30)" in caplog.text
    assert "The event loop goes on" in caplog.text, "also where it ends at once"
    watching = [thread for thread in threading.enumerate() if thread.name == "mocra watchdog"]
    assert all(thread.daemon for thread in watching), "no exit waits for it"
