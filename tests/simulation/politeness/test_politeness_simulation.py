"""The small form: some seeds, and mistakes that must be seen. In processes of their own, whose clock it replaces."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import scrapy

from tests.services import warm
from tests.services.redis_server import RedisServer

ROOT = Path(__file__).parents[3]
#: Mistake -> a seed that shows it.
SEEN_BY = {
    "nobody_looks_at_the_wire": 0,
    "late_ones_go_at_once": 5,
    "unused_departures_are_lost": 15,
    "an_unused_departure_is_used_twice": 18,
    "answers_count_from_when_they_are_read": 42,
    "what_bypasses_the_queue_books_nothing": 7,
    "what_bypasses_the_queue_is_not_looked_at": 7,
    "the_slot_of_the_first_host_stays": 2,
    "each_worker_has_all_permits": 9,
    "the_loosest_rules_hold": 0,
    "rules_outlast_their_workers": 58,
    "a_join_takes_the_rules_of_others_away": 0,
    "a_hold_is_forgotten": 1,
    "a_pause_never_ends": 6,
    "a_change_is_forgotten": 2,
    "two_bookings_share_an_instant": 5,
    "a_burst_is_one_too_many": 0,
    "scopes_do_not_count": 1,
    "a_resumption_is_a_burst": 164,
    "a_longer_interval_is_a_burst": 100,
    "what_waited_keeps_its_booking": 1,
    "what_is_leased_keeps_its_booking": 1,
}
#: Seeds that once failed -> what was wrong.
KEPT = {
    42: "an answer that lay unread while a callback computed was counted from when it was read",
    100: "an interval that became longer let a burst go anew",
    112: "the judge took a hold at the rate of another time",
    164: "a resumption let a burst go anew",
    211: "a slot with a burst waited for long intervals of a worker that had left",
    389: "a slot with a burst waited for intervals that somebody had made shorter",
    404: "of the first answer that a worker read nobody could know that it had lain unread",
    819: "the judge took a worker for alive that had stood still for its whole lease",
    1020: "the judge forgot that pages have their permits while they dawdle",
    1273: "the judge did not know that after a silence of all nobody is taken for dead at once",
}
#: The same of sites with a Crawl-delay: what was leased before that was known kept its booking by a shorter interval.
KEPT_OF_ROBOTS = (1, 5, 8, 15, 24)
#: How many seeds, from 0 on, are tried on a real Redis here.
REDIS_SEEDS = 6

pytestmark = pytest.mark.skipif(scrapy.version_info < (2, 15), reason="this Scrapy needs a reactor")


def simulated(*arguments: str) -> str:
    done = warm.run([sys.executable, "-m", "tests.simulation.politeness", *arguments], ROOT, 600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_sites_never_see_too_much_and_rates_are_used() -> None:
    seeds = sorted({*range(4), *KEPT})
    assert f"{len(seeds)} schedules" in simulated("--seed", *map(str, seeds))


def test_a_crawl_delay_holds_from_the_first_page_on() -> None:
    seeds = map(str, KEPT_OF_ROBOTS)
    assert f"{len(KEPT_OF_ROBOTS)} schedules" in simulated("--robots", "--seed", *seeds)


@pytest.mark.redis
def test_so_it_is_on_redis(redis_single: RedisServer) -> None:
    """By the scripts of a real server, whose clock is the simulation's; it has one of its own, which is empty."""
    assert f"{REDIS_SEEDS} schedules" in simulated("--backend", "redis", "--seeds", str(REDIS_SEEDS))
    assert "never_above_the_rate" in simulated("--backend", "redis", "--mistake", "nobody_looks_at_the_wire=0")


def test_mistakes_are_seen() -> None:
    """Each by the seed that is known to show it, which passes without it."""
    from .mistakes import MISTAKES

    assert SEEN_BY.keys() == MISTAKES.keys()
    said = simulated("--mistake", *(f"{name}={seed}" for name, seed in SEEN_BY.items()))
    assert len(said.splitlines()) == len(SEEN_BY)
