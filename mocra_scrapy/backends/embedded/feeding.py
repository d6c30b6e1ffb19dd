"""What comes from a log, see :class:`~mocra_scrapy.interfaces.ILoggedQueue`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.backends.embedded.slots import item_of, logged_item
from mocra_scrapy.models import Fed, Feed, LogState, Offsets, QueueOptions
from mocra_scrapy.models.entries import fingerprint_number


def feed(
    crawl: StoredCrawl,
    options: QueueOptions,
    feeds: Sequence[Feed],
    *,
    confirm: Mapping[str, Sequence[Offsets]],
    collect: Collection[str],
    most: int,
    now: float,
) -> Fed:
    """Store what was read, forget what was confirmed, tell what is finished."""
    log = crawl.log
    for partition, notes in confirm.items():
        log.confirm(partition, notes)
    stored = ready = 0
    for one in feeds:
        number, had_now = _feed_one(crawl, options, one, now)
        stored, ready = stored + number, ready + had_now
    if stored:
        crawl.reopen()
        crawl.wakeups.wake_hungry(min(ready, crawl.pending))
    names = {*(one.partition for one in feeds), *collect}
    return Fed(
        {name: log.positions.get(name) for name in names},
        stored,
        {name: log.finished(name, most) for name in collect},
        crawl.size(),
        log.moves,
    )


def _feed_one(crawl: StoredCrawl, options: QueueOptions, one: Feed, now: float) -> tuple[int, int]:
    """How many entries were stored, and how many of them may be had now."""
    log, partition = crawl.log, one.partition
    position = log.positions.get(partition)
    if position is None or one.start > position or one.stop <= position:
        return 0, 0
    stored = ready = 0
    at = position
    for offset, entry in one.entries:
        if offset < position:
            continue
        if offset > at:
            log.note_all(partition, at, offset)
        at = offset + 1
        if _is_twin(crawl, one, offset):
            continue
        number = None if entry.fingerprint is None else fingerprint_number(entry.fingerprint)
        item = logged_item(item_of(entry, number), (partition, offset))
        ready += crawl.line_up(item, now + entry.delay, now, options.lifo)
        stored += 1
    if at < one.stop:
        log.note_all(partition, at, one.stop)
    log.positions[partition] = one.stop
    return stored, ready


def _is_twin(crawl: StoredCrawl, feed: Feed, offset: int) -> bool:
    """Whether what comes from there is in line already, or was. If it is in transit, that ends."""
    transit = feed.transit.get(offset)
    if transit is None:
        return False
    pusher = crawl.workers.get(transit[0])
    if pusher is not None and pusher.transit.pop(transit[1], None) is not None:
        crawl.log.moves += 1
        return False
    return crawl.log.has_twin(transit, (feed.partition, offset))


def log_state(crawl: StoredCrawl) -> LogState:
    """How it stands."""
    log, state = crawl.log, crawl.state()
    return LogState(state.run, state.born, log.run, log.moves, dict(log.begins), dict(log.positions))
