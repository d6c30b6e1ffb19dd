"""What dead workers held goes back in line, or to the dead letters."""

from __future__ import annotations

from mocra_scrapy.backends.embedded.crawl import BUDGET, StoredCrawl
from mocra_scrapy.backends.embedded.slots import Item
from mocra_scrapy.models import QueueOptions

#: Seconds for which the last call of a worker that died is remembered, in case that it repeats it.
REMEMBER = 3600.0


def reclaim(crawl: StoredCrawl, now: float, wall: float, options: QueueOptions) -> tuple[int, int]:
    """Take from dead workers what they hold, :data:`BUDGET` entries at most: how many went back, how many
    were given up.

    A worker of which something is left stays the owner of the rest until that is taken, too.
    """
    while crawl.dead_workers and next(iter(crawl.dead_workers.values()))[0] <= now:
        crawl.dead_workers.popitem(last=False)
    back = up = 0
    for worker in sorted((w for w in crawl.workers.values() if w.expires < now), key=lambda w: w.expires):
        while worker.held and back + up < BUDGET:
            token = next(reversed(worker.held))  # newest first, so that the oldest ends up first in line
            item = worker.drop(token)
            assert item is not None
            worker.lost = True
            if _goes_on(crawl, worker.name, item, options, now=now, wall=wall):
                back += 1
            else:
                up += 1
        if worker.transit:
            worker.lost = True
            back += crawl.end_transit(worker, BUDGET - back - up, now, options)
        if worker.holds:
            break
        crawl.forget_worker(worker)
        if worker.lost or worker.last is not None:
            crawl.dead_workers[worker.name] = (now + REMEMBER, worker)
    return back, up


def _goes_on(crawl: StoredCrawl, name: str, item: Item, options: QueueOptions, *, now: float, wall: float) -> bool:
    """Count one more hand-out of *item* that was lost; whether it goes on (``False``: it is a dead
    letter).
    """
    if item.first is None:
        item.first = wall
    hand_outs = item.lost + 1
    if hand_outs >= options.max_deliveries:
        subject = "1 worker died while it" if hand_outs == 1 else f"{hand_outs} workers died while they"
        detail = f"{subject} held it, the last one: {name}"
        crawl.log.note(item)
        crawl.dead.add(item, ("deliveries", detail), name, now=now, wall=wall, most=options.max_dead)
        return False
    item.lost = hand_outs
    crawl.give_back(item, options.isolate_after)
    return True
