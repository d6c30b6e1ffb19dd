"""How a run begins, is seeded and ends, see :class:`~mocra_scrapy.interfaces.IRequestQueue`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.backends.embedded.permits import come_down
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import CrawlState, Finish, Job, QueueOptions, Seeding
from mocra_scrapy.models.wording import counted


def join(
    crawl: StoredCrawl, options: QueueOptions, worker: str, *, now: float, wall: float, job: Job | None
) -> CrawlState:
    """*worker* announces itself: it takes part in the run that is unfinished, or begins the next."""
    if options.shards and crawl.shards and options.shards != crawl.shards:
        raise ConfigurationError(
            "MOCRA_SHARDS",
            f"this crawl was begun with {counted(crawl.shards, 'shard')}, not {options.shards}",
            f"Set it to {crawl.shards}, or leave it out, or delete the crawl first",
        )
    others, resumed = len(crawl.living(now, worker)), _is_unfinished(crawl)
    if resumed and job is not None and crawl.job is not None and crawl.job.digest != job.digest:
        size = crawl.size()
        if others or size.unfinished or size.seen or size.dead:
            raise job.refused_by(crawl.job, crawl.name)
        crawl.clear()
        resumed = False
    if not resumed:
        _begin(crawl, options)
        crawl.job, crawl.begun = job, wall
    elif job is not None:
        crawl.job = job
    crawl.renew(worker, now, options.lease)
    version = crawl.throttle.rules.version
    crawl.end_rules_of_the_dead(now)
    crawl.throttle.rules.know(worker, options.rules)
    if crawl.throttle.rules.version != version:
        come_down(crawl, now)
    crawl.slots.turns.open_all()  # other limits may be in force now
    return replace(crawl.state(), resumed=resumed, others=others)


def _is_unfinished(crawl: StoredCrawl) -> bool:
    # Everything is done and everybody left, but nobody lived to say so: that run is over, too.
    exhausted = crawl.seeding is Seeding.DONE and not crawl.size().unfinished and not crawl.workers
    return bool(crawl.run) and not crawl.finished and not exhausted


def _begin(crawl: StoredCrawl, options: QueueOptions) -> None:
    if not crawl.run:
        crawl.born += 1
        crawl.positions.clear()
        crawl.log.clear()
    crawl.budgets.clear()
    if not (crawl.run and options.keep_seen):
        crawl.seen.clear()  # without a record it is nobody's
    crawl.run, crawl.finished, crawl.winner = crawl.run + 1, False, ""
    crawl.seeding, crawl.seeder = Seeding.OPEN, ""
    crawl.shards = crawl.shards or options.shards or 1


def claim_seeding(crawl: StoredCrawl, options: QueueOptions, worker: str, now: float) -> bool:
    """Whether *worker* is to seed: nobody did, or does and lives."""
    crawl.renew(worker, now, options.lease)
    if crawl.seeding is Seeding.DONE:
        return False
    if crawl.seeding is Seeding.CLAIMED and crawl.seeder != worker:
        seeder = crawl.workers.get(crawl.seeder)
        if seeder is not None and seeder.expires >= now:
            return False
    crawl.seeding, crawl.seeder = Seeding.CLAIMED, worker
    return True


def move(crawl: StoredCrawl, worker: str, positions: Mapping[str, bytes]) -> bool:
    """Positions of sources, as *worker* says; whether it is the one that seeds."""
    if crawl.seeding is not Seeding.CLAIMED or crawl.seeder != worker:
        return False
    for name, position in positions.items():
        if position:
            crawl.positions[name] = position
        else:
            crawl.positions.pop(name, None)
    return True


def complete_seeding(crawl: StoredCrawl, worker: str) -> bool:
    """All seeds are stored, says *worker*; whether it is the one that seeds."""
    if crawl.seeding is Seeding.OPEN or crawl.seeder != worker:
        return False
    crawl.seeding = Seeding.DONE
    crawl.wake_all()  # an idle worker may have waited for nothing but this to end the run
    return True


def finish(crawl: StoredCrawl, options: QueueOptions, worker: str, now: float) -> Finish:
    """End the run if nothing is left to do."""
    if crawl.finished:
        return Finish.WON if crawl.winner == worker else Finish.FINISHED
    if crawl.seeding is not Seeding.DONE or crawl.size().unfinished:
        return Finish.BUSY
    crawl.finished, crawl.winner = True, worker
    crawl.throttle.end_run(now)
    crawl.stalls.clear()
    crawl.budgets.clear()
    if not options.keep_seen:
        crawl.seen.clear()
    crawl.wake_all()
    return Finish.WON
