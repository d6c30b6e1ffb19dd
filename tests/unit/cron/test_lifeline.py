"""What a crawl does when its launcher dies."""

from __future__ import annotations

import os
import signal

from mocra_scrapy.cron.lifeline import wait_for_the_end


def test_a_crawl_whose_launcher_died_is_ended_with_a_grace() -> None:
    done: list[object] = []
    theirs, ours = os.pipe()
    os.close(ours)
    wait_for_the_end(
        theirs,
        7.0,
        end=lambda which: done.append(which),
        end_group=lambda: done.append("group"),
        sleep=lambda seconds: done.append(seconds),
    )
    os.close(theirs)
    assert done == [signal.SIGTERM, 7.0, "group"]
