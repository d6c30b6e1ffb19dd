"""``scrapy mocra slots`` and ``breaker`` on a crawl that runs: what the site sees."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from tests.e2e.projects import scrapy
from tests.e2e.workers import PROJECT, Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

#: Enough for minutes: a busy machine takes its time for each command.
PAGES = 1000
CRAWL, SLOT = "crawling:two_hosts", "localhost"
SETTINGS = {"MOCRA_BREAKER": "mocra", "DOWNLOAD_DELAY": 0.5, "RANDOMIZE_DOWNLOAD_DELAY": False}


class Operator:
    """Says something to the crawl, and looks at what the site sees of it."""

    def __init__(self, site: MockSite, workers: Workers) -> None:
        self.site, self.workers = site, workers

    def say(self, verb: str, *words: str) -> str:
        set_ = ["-s", f"MOCRA_BACKEND={self.workers.backend}", "-s", "MOCRA_BREAKER=mocra"]
        done = scrapy(PROJECT, "mocra", verb, *words, "--crawl", CRAWL, *set_)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def look(self) -> dict[str, Any]:
        (row,) = map(json.loads, self.say("slots", "look", SLOT, "--json").splitlines())
        return dict(row)

    def seen(self) -> list[float]:
        return sorted(at for times in self.site.arrivals().values() for at in times)

    def stands_still(self) -> None:
        """What was under way arrives; then nothing, for as long as five requests would take."""
        seen, since = self.seen(), time.monotonic()

        def nothing_new() -> bool:
            nonlocal seen, since
            if len(now := self.seen()) != len(seen):
                seen, since = now, time.monotonic()
            return time.monotonic() - since > 2.5

        eventually(nothing_new, what="silence")
        assert len(seen) < 2 * PAGES, "there is more to fetch"

    def goes_on(self) -> None:
        before = len(self.seen())
        eventually(lambda: len(self.seen()) > before, what="it goes on")


def test_what_a_person_says_holds_where_the_site_sees_it(site: MockSite, workers: Workers) -> None:
    site.repair()
    url = site.url.replace("127.0.0.1", SLOT)
    for _ in range(2):
        workers.start("two_hosts", site=url, bad="sick", pages=PAGES, **SETTINGS)
    workers.until("opened", 2)
    tell = Operator(site, workers)
    tell.goes_on()
    tell.say("slots", "pause", SLOT)
    tell.stands_still()
    tell.say("slots", "resume", SLOT)
    tell.goes_on()
    tell.say("breaker", "open", SLOT, "1h")
    tell.stands_still()
    assert tell.look()["circuit"] == "open"
    tell.say("breaker", "close", SLOT)
    tell.goes_on()
    tell.say("slots", "hold", SLOT, "1h")
    tell.stands_still()
    tell.say("slots", "rate", SLOT, "1/3s")
    tell.say("slots", "resume", SLOT)
    since = time.monotonic()
    eventually(lambda: len([at for at in tell.seen() if at > since]) >= 3, what="one in three seconds")
    first, *_, third = [at for at in tell.seen() if at > since][:3]
    assert third - first > 4, "at the settings' rate it were one second"

    workers.all[0].send_signal(signal.SIGKILL)
    workers.start("two_hosts", site=url, bad="sick", pages=PAGES, **SETTINGS)
    workers.until("opened", 3)
    row = tell.look()
    assert (row["interval"], row["change"]) == (3.0, {"interval": 3.0}), "it outlives the workers that were there"
    assert "@" in row["from"]
    tell.say("slots", "reset", SLOT)
    row = tell.look()
    assert (row["interval"], row["change"], row["held"]) == (0.5, None, 0)
    tell.goes_on()
