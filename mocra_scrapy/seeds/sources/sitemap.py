"""Pages of sitemaps as seeds. One worker reads the files, one after the other, and another one goes on
in the middle.

A position is the way from the first file to the one that is read: of each its address, and how many
of its entries are done. Whoever takes over fetches these files again, five at most.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.models.redaction import redact
from mocra_scrapy.seeds.sitemaps import Reading, SitemapEntry, absolute, is_web, moment, sitemaps_in_robots
from mocra_scrapy.seeds.source import Found
from mocra_scrapy.settings.checks import time_span

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

#: Files between the first one and a page, both included, at most.
DEPTH = 5
#: Addresses of files that are remembered, so that an index that names itself is read once.
REMEMBERED = 200_000
#: Entries that are parsed at once.
PART = 200
#: Where a site has its sitemaps that names none.
USUAL = ("sitemap.xml", "sitemap_index.xml", "sitemap.txt")
#: Gets a robots.txt: its bytes; ``None``: it can't be had.
Robots = Callable[[str], Awaitable["bytes | None"]]
#: Gets a file in the same way, also told whether it is a guess, of which nobody said that it is there.
Fetch = Callable[[str, bool], Awaitable["bytes | None"]]


@dataclass(slots=True)
class Level:
    """A file on the way. *done*: entries of it that were given, or whose files were. *is_guess*: nobody said that it
    is there.
    """

    url: str
    done: int = 0
    is_guess: bool = False
    entries: Iterator[SitemapEntry] | None = None
    ahead: deque[SitemapEntry] = field(default_factory=deque)
    reading: Reading | None = None


class SitemapSource:
    """A sitemap, an index of sitemaps, or those that a site's robots.txt names.

    Args:
        url: of a file; of a site (without a path) or its robots.txt: what that names, else those of
            :data:`USUAL` that are there.
        options: ``since``: pages that were changed before are left out, unless it is not known when:
            a date, or ``7d`` ago; ``include``: a pattern that is searched for in the address of a page;
            ``callback``: the name of a method.
        fetch, robots: get a file and a robots.txt.
        count: is told how much was counted under a name.

    Raises:
        ConfigurationError: an option is wrong.
    """

    is_endless = False

    def __init__(
        self,
        url: str,
        name: str,
        options: Mapping[str, Any],
        *,
        fetch: Fetch,
        robots: Robots,
        count: Callable[[str], None],
    ) -> None:
        self.name, self.is_over = name, False
        self._url, self._fetch, self._robots, self._count = url, fetch, robots, count
        if not is_web(url) or not _is_address(url):
            raise ConfigurationError("MOCRA_SEEDS", f"{name!r} is no http(s) address", "Write sitemap:https://…")
        self._since = _since(options.get("since"))
        self._include = _pattern(options.get("include"))
        self._callback = options.get("callback")
        if self._callback is not None and not isinstance(self._callback, str):
            raise ConfigurationError(
                "MOCRA_SEEDS['callback']", f"{self._callback!r} is no name", "Name a method of the spider"
            )
        self._way: list[Level] = []
        self._known: set[int] = set()
        self._run = 0
        self._is_guessing = self._has_guessed = False

    @property
    def position(self) -> bytes:
        return json.dumps({"run": self._run, "way": [[level.url, level.done] for level in self._way]}).encode()

    async def begin(self, position: bytes | None, run: int) -> None:
        """In the middle of the same run; another one reads all of it again."""
        self._run, self.is_over, self._known = run, False, set()
        self._way = [Level(self._url)]
        try:
            known = json.loads(position) if position else {}
            if known.get("run") == run:
                self._way = [Level(str(url), int(done)) for url, done in known["way"]][:DEPTH]
        except (ValueError, TypeError, KeyError, AttributeError):
            logger.warning("The position of %s can't be read: it is read anew", self.name)
        self._known.update(hash(level.url) for level in self._way)
        # What another worker gave of a site, it had from somewhere.
        self._is_guessing, self._has_guessed = False, len(self._way) > 1

    async def read(self, want: int) -> list[Found]:
        found: list[Found] = []
        deadline = time.monotonic() + 1.0  # between two looks whether somebody else reads now
        while self._way and len(found) < want and time.monotonic() < deadline:
            level = self._way[-1]
            try:
                await self._look_ahead(level)
            except MocraError:
                if not found:
                    raise
                break  # these are not to be lost for it; whoever asks again is told
            if not level.ahead:
                self._way.pop()
                self._tell(level)
                self._has_guessed |= level.is_guess and level.done > 0
            while level.ahead and len(found) < want and self._way[-1] is level:
                found += self._taken(level, level.ahead.popleft())
        self.is_over = not self._way
        return found

    async def _look_ahead(self, level: Level) -> None:
        """Parse some more of it. Whatever a file does to whoever reads it, the others are read."""
        try:
            if level.entries is None:
                await self._open(level)
            assert level.entries is not None
            level.ahead = level.ahead or await asyncio.to_thread(deque, islice(level.entries, PART))
        except MocraError:
            raise
        except Exception as error:
            self._count("mocra/seeds/sitemap_failed")
            logger.exception(
                "The rest of sitemap %s is left out: %s (%s)", redact(level.url), type(error).__name__, self.name
            )
            level.entries = iter(())

    def _taken(self, level: Level, entry: SitemapEntry) -> list[Found]:
        level.done += 1
        if not self._is_wanted(entry):
            self._count("mocra/seeds/sitemap_skipped")
        elif entry.is_sitemap:
            self._go_down(entry.url)
        else:
            return [self._seed(entry, f"{level.url} {level.done}")]
        return []

    def _is_wanted(self, entry: SitemapEntry) -> bool:
        if self._since is not None and entry.lastmod:
            at = moment(entry.lastmod)
            if at is not None and at < self._since:
                return False
        return entry.is_sitemap or self._include is None or self._include.search(entry.url) is not None

    def _go_down(self, url: str) -> None:
        """The file *url* is read next, unless it was read before."""
        if hash(url) in self._known:
            return
        if len(self._known) < REMEMBERED:
            self._known.add(hash(url))
        if not is_web(url):
            self._count("mocra/seeds/sitemap_failed")
            logger.error("Sitemap %s is left out: it is no http(s) address (%s)", redact(url), self.name)
            return
        if len(self._way) >= DEPTH:
            self._count("mocra/seeds/sitemap_failed")
            logger.error("Sitemap %s is left out: it lies deeper than %d files (%s)", redact(url), DEPTH, self.name)
            return
        self._way.append(Level(url, is_guess=self._is_guessing and len(self._way) == 1))

    def _seed(self, entry: SitemapEntry, place: str) -> Found:
        seed: dict[str, Any] = {"url": entry.url}
        if entry.lastmod:
            at = moment(entry.lastmod)
            meta = seed["meta"] = {}
            meta["mocra_lastmod"] = entry.lastmod if at is None else at.isoformat()
        if self._callback:
            seed["callback"] = self._callback
        return Found(json.dumps(seed).encode(), place)

    # ------------------------------------------------------------------ files

    async def _open(self, level: Level) -> None:
        """Fetch it, and pass over what was given of it before."""
        if len(self._way) == 1 and _is_site(level.url):
            level.entries = islice(await self._of_robots(level.url), level.done, None)
            return
        body = await self._fetch(level.url, level.is_guess)
        if body is not None:
            self._count("mocra/seeds/sitemaps")
            level.reading = Reading(level.url, body)
        elif not level.is_guess:
            self._count("mocra/seeds/sitemap_failed")
            logger.error("Sitemap %s is left out: it can't be had (%s)", redact(level.url), self.name)
        level.entries = await asyncio.to_thread(_opened, level.reading, level.done) if body else iter(())

    async def _of_robots(self, url: str) -> list[SitemapEntry]:
        root = "{0.scheme}://{0.netloc}/".format(urlsplit(url))
        body = await self._robots(root + "robots.txt") or b""
        # What is no address stays as it is, and is told as any other that can't be fetched.
        urls = [absolute(root, one) or one for one in sitemaps_in_robots(body)]
        self._is_guessing = not urls
        urls = urls or [root + one for one in USUAL]
        return [SitemapEntry(one, "", is_sitemap=True) for one in urls]

    def _tell(self, level: Level) -> None:
        """What was wrong with it. Not of a guess that was wrong: many sites have a page for whatever there is not."""
        problems = level.reading.problems if level.reading is not None else []
        if not self._way and self._is_guessing and not self._has_guessed:
            self._count("mocra/seeds/sitemap_failed")
            logger.error(
                "No sitemap of %s was found: its robots.txt names none, and there is no %s (%s)",
                redact(level.url),
                ", ".join(USUAL),
                self.name,
            )
        elif problems and (level.done or not level.is_guess):
            self._count("mocra/seeds/sitemap_failed")
            logger.error("Sitemap %s was not read as a whole: %s", redact(level.url), "; ".join(problems))

    async def close(self) -> None:
        self._way.clear()


def _opened(reading: Reading | None, done: int) -> Iterator[SitemapEntry]:
    """Its entries behind the first *done*. Of an index all are kept in place of the file: it stays
    open while its files are read.
    """
    assert reading is not None
    entries = iter(reading)
    for _ in islice(entries, done):
        pass
    first = next(entries, None)
    if first is None:
        return iter(())
    if not first.is_sitemap:
        return chain([first], entries)
    rest = [first, *entries]
    reading.body = b""
    return iter(rest)


def _is_address(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _is_site(url: str) -> bool:
    path = urlsplit(url).path
    return path in ("", "/") or path.endswith("/robots.txt")


def _since(value: Any) -> datetime | None:
    if value is None:
        return None
    span = time_span(value)
    at = datetime.now(timezone.utc) - timedelta(seconds=span) if span is not None else moment(str(value))
    if at is None:
        raise ConfigurationError(
            "MOCRA_SEEDS['since']", f"{value!r} is no date", 'Write "2026-01-31", or "7d" for 7 days ago'
        )
    return at


def _pattern(value: Any) -> re.Pattern[str] | None:
    try:
        return None if value is None else re.compile(value)
    except (re.error, TypeError) as error:
        raise ConfigurationError(
            "MOCRA_SEEDS['include']", f"{value!r} is no pattern: {error}", "Write a regular expression"
        ) from None
