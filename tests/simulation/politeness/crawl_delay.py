"""Sites whose robots.txt asks for much more than the settings say: what must be true from the first page on."""

from __future__ import annotations

import random
from itertools import combinations

from .judge import LATE, Broken
from .schedule import HOSTS, Event, Rule, Schedule, Setup
from .site import ROBOTS, Sites

#: Of the departures that a Crawl-delay allows, where nothing dawdles.
USED = 0.6
#: Pages that the slowest crawl has fetched in the end.
FEWEST = 10


def draw_robots(seed: int) -> Schedule:
    """Workers meet sites whose file they don't have. What they lease before they do is booked by their settings."""
    draw = random.Random(seed)
    rules = tuple(Rule(draw.choice([0.01, 0.05, 0.2])) for _ in HOSTS)
    workers = draw.choice([2, 3, 4])
    late = [Event("join", round(draw.uniform(0, 2), 2), f"w{workers + n}") for n in range(draw.choice([0, 1, 2]))]
    return Schedule(
        seed,
        Setup(
            rules=(rules, rules),
            workers=(0,) * workers,
            manners=tuple((manner, 0.2) for manner in draw.sample(("cached", "ignored", "slow"), draw.choice([0, 1]))),
            response=draw.choice([0.05, 0.3]),
            latency=draw.choice([0.0005, 0.01, 0.05]),
            pages=110,
            crawl_delay=draw.choice([0.5, 1.0]),
        ),
        tuple(sorted(late, key=lambda event: event.at)),
    )


def crawl_delay_holds(setup: Setup, sites: Sites) -> None:
    """In what *sites* saw.

    Raises:
        Broken: it does not, its file did not come first and once, or the crawl stands still.
    """
    delay, slack = setup.crawl_delay, LATE + 2 * setup.latency
    for host in HOSTS:
        visits = [visit for visit in sites.visits if visit.host == host]
        told = [visit.until for visit in visits if visit.manner == ROBOTS]
        pages = [visit.at for visit in visits if visit.manner != ROBOTS]
        if len(told) != 1 or not pages or pages[0] < told[0]:
            raise Broken("robots_txt_comes_first", f"{host} gave it at {told}, the first page at {pages[:1]}")
        for (i, first), (j, last) in combinations(enumerate(pages), 2):
            if last - first < (j - i) * delay - slack:
                raise Broken(
                    "crawl_delay_holds_from_the_first_page_on",
                    f"{j - i + 1} at {host} from {first - 1000:.3f} to {last - 1000:.3f} s",
                )
        # What dawdles for longer than the delay goes back into the queue, and its departure is lost.
        used = 0.0 if "slow" in dict(setup.manners) else USED
        if len(pages) < max(FEWEST, used * (pages[-1] - pages[0]) / delay):
            raise Broken("the_crawl_goes_on", f"{len(pages)} pages of {host} until {pages[-1] - 1000:.3f} s")
