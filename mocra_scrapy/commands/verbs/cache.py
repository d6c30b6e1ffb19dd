"""``scrapy mocra cache look|purge|export|import``: pages that the HTTP cache keeps."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy.commands import ScrapyCommand
from scrapy.http import Request
from scrapy.spiderloader import get_spider_loader
from scrapy.utils.misc import build_from_crawler, load_object

from mocra_scrapy.cache.httpcache import listing
from mocra_scrapy.cache.httpcache.archives import ArchivedPage, HarWriter, WarcWriter, is_har, read_archive
from mocra_scrapy.cache.httpcache.freshness import current_age, lifetime
from mocra_scrapy.cache.httpcache.messages import Ask, Stored
from mocra_scrapy.cache.httpcache.page_cache import rules_of
from mocra_scrapy.cache.httpcache.pages import SharedPages, page_name, print_name
from mocra_scrapy.cache.httpcache.record import with_extra
from mocra_scrapy.cache.httpcache.selecting import with_variant
from mocra_scrapy.commands.verbs.backend_session import opened_backend
from mocra_scrapy.commands.verbs.verb import positive
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.wording import counted
from mocra_scrapy.runtime.figures import duration, size
from mocra_scrapy.settings.crawl import read_options
from mocra_scrapy.settings.httpcache import policy_is_ours, read_httpcache

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

    from mocra_scrapy.interfaces import ICache
    from mocra_scrapy.settings.httpcache import HttpCacheOptions

WORDS = ("look", "purge", "export", "import")
NO_SENSE = 2


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Show what the HTTP cache of a spider's crawls has (look), delete it (purge), write it into a file
    (export), or read one (import): WARC or HAR, by its name. MOCRA_HTTPCACHE_SCOPE says which cache it is.
    Exit codes: 0; 1 it can't be done; 2 the command line makes no sense.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what", choices=WORDS)
        parser.add_argument("spider", help="a spider of the project; for a crawl's own cache that of MOCRA_CRAWL")
        parser.add_argument("where", nargs="?", default="", metavar="URL|FILE", help="look: a page; import: a file")
        parser.add_argument("--url", default="", help="purge: only this page")
        parser.add_argument("--site", default="", metavar="HOST", help="purge, export: only pages of this host")
        parser.add_argument("--output", metavar="FILE", help="export: ….warc, ….warc.gz or ….har; must not exist")
        parser.add_argument("--yes", action="store_true", help="purge: don't ask")
        parser.add_argument(
            "--lines", type=positive, metavar="N", default=20, help="sites that look shows (default: %(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="look: a line of JSON for each site or response")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        wrong = _senseless(options)
        if wrong:
            print(f"Error: {wrong}", file=sys.stderr)
            return NO_SENSE
        assert command.settings is not None
        try:
            return asyncio.run(_run(options, _settings_of(command.settings, options.spider)))
        except OSError as error:
            print(f"Error: {error.filename}: {error.strerror}", file=sys.stderr)
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
        return 1


def _senseless(options: argparse.Namespace) -> str:
    if options.what == "export" and not options.output:
        return "into which file? scrapy mocra cache export SPIDER --output pages.warc.gz"
    if options.what == "import" and not options.where:
        return "which file? scrapy mocra cache import SPIDER pages.warc.gz"
    if options.where and options.what in ("purge", "export"):
        return f"{options.where!r} means nothing after {options.what}: use --url, --site or --output"
    return ""


def _settings_of(settings: BaseSettings, spider: str) -> BaseSettings:
    """Those of the spider, if the project has it."""
    chosen = settings.copy()
    loader = get_spider_loader(chosen)
    if spider in loader.list():
        loader.load(spider).update_settings(chosen)
    return chosen


@dataclass
class _Cache:
    settings: BaseSettings
    options: HttpCacheOptions
    scope: str
    cache: ICache
    pages: SharedPages


class _Uncounted:
    def inc_value(self, key: str, count: int = 1, start: int = 0) -> None:
        """A command has no stats."""


@asynccontextmanager
async def _opened(settings: BaseSettings, spider: str) -> AsyncIterator[_Cache]:
    crawl, options = read_options(settings, spider), read_httpcache(settings)
    async with opened_backend(crawl) as (backend, _):
        scope = options.namespace(crawl.crawl, crawl.project, spider)
        cache = backend.cache(f"http:{scope}", options.bounds)
        pages = SharedPages(cache, options, _Uncounted())
        try:
            yield _Cache(settings, options, scope, cache, pages)
        finally:
            await pages.dictionary.close()
            await cache.close()


async def _run(options: argparse.Namespace, settings: BaseSettings) -> int:
    async with _opened(settings, options.spider) as one:
        if options.what == "look":
            return await (_look_at(one, options) if options.where else _look(one, options))
        if options.what == "purge":
            return await _purge(one, options)
        return await (_export(one, options) if options.what == "export" else _import(one, options))


# ------------------------------------------------------------------ look


async def _look(one: _Cache, options: argparse.Namespace) -> int:
    found, there = await listing.sites(one.cache, options.lines + 1), await one.cache.size()
    if options.json:
        for site in found[: options.lines]:
            print(json.dumps({"site": site.host, "entries": site.entries, "more": site.many}))
        return 0
    kind = "a shared cache" if one.options.shared else "a private cache"
    print(
        f"Scope {one.scope} ({kind}): {counted(there.entries, 'entry')},"
        f" {size(there.bytes)} of {size(one.options.max_bytes)}"
    )
    for site in found[: options.lines]:
        print(f"  {site.host}  {site.entries:,}{' or more' if site.many else ''}")
    if len(found) > options.lines:
        print(f"  more sites: --lines {options.lines * 5}")
    return 0


async def _look_at(one: _Cache, options: argparse.Namespace) -> int:
    url, now, rules = options.where, time.time(), rules_of(one.options)
    names = (page_name(url), print_name(url, _fingerprint(one.settings, Request(url))))
    variants = [stored for name in names for stored in await one.pages.read(name)]
    if not variants:
        print(f"Nothing is stored of {url} in scope {one.scope}", file=sys.stderr)
        return 1
    for stored in variants:
        left = lifetime(stored, rules) - current_age(stored, now)
        facts = {
            "status": stored.status,
            "bytes": len(stored.answer.body),
            "age": round(current_age(stored, now)),
            "fresh_for": round(left),
            "varies_by": {k.decode("latin-1"): v and v.decode("latin-1") for k, v in stored.selecting.items()},
            "headers": {k.decode("latin-1"): [v.decode("latin-1") for v in vs] for k, vs in stored.fields.items()},
        }
        print(json.dumps(facts, ensure_ascii=False) if options.json else _told(facts, left))
    return 0


def _told(facts: dict[str, Any], left: float) -> str:
    fresh = f"fresh for {duration(left)} more" if left > 0 else f"stale since {duration(-left)}"
    lines = [f"{facts['status']}, {size(facts['bytes'])}, {duration(facts['age'])} old, {fresh}"]
    lines += [f"  for requests with {name}: {value or '(none)'}" for name, value in facts["varies_by"].items()]
    lines += [f"  {name}: {value}" for name, values in facts["headers"].items() for value in values]
    return "\n".join(lines)


# ------------------------------------------------------------------ purge


async def _purge(one: _Cache, options: argparse.Namespace) -> int:
    what = options.url or (f"all pages of {options.site}" if options.site else f"everything in scope {one.scope}")
    if not options.yes:
        print(f"Delete {what}? [y/N] ", end="", flush=True)
        if (await asyncio.to_thread(sys.stdin.readline)).strip().lower() not in ("y", "yes"):
            print("Nothing was deleted")
            return 1
    if options.url:
        names = [page_name(options.url), print_name(options.url, _fingerprint(one.settings, Request(options.url)))]
        gone = await one.cache.delete(names)
    elif options.site:
        gone = await listing.purge(one.cache, options.site)
    else:
        gone = (await one.cache.size()).entries
        await one.cache.clear()
    print(f"Deleted: {counted(gone, 'entry')}")
    return 0


# ------------------------------------------------------------------ export, import


async def _export(one: _Cache, options: argparse.Namespace) -> int:
    path, pages = Path(options.output), 0
    with HarWriter(path) if is_har(path) else WarcWriter(path) as writer:
        async for _, variants in listing.entries_of(one.cache, one.pages, options.site):
            for stored in variants:
                extra = stored.extra
                fields = {name: [value] for name, value in stored.selecting.items() if value is not None}
                method, url = str(extra.get("method", "GET")), str(extra.get("url", stored.answer.url))
                body = extra.get("body", b"")
                asked = Ask(method.encode(), url, fields)
                writer.write(ArchivedPage(asked, stored, body if isinstance(body, bytes) else b""))
                pages += 1
    print(f"{path}: {counted(pages, 'page')}")
    return 0


async def _import(one: _Cache, options: argparse.Namespace) -> int:
    done = varies = left_out = 0
    ours = policy_is_ours(one.settings)
    for page in read_archive(Path(options.where)):
        ask, variant = page.ask, page.variant
        if variant is None:
            varies += 1
        elif not (ours and ask.method != b"GET") and await _stored(one, page, variant, ours):
            done += 1
        else:
            left_out += 1
    print(f"{options.where}: {counted(done, 'page')} stored in scope {one.scope}")
    if varies:
        print(f"{counted(varies, 'page')} left out: they vary by what the file does not tell", file=sys.stderr)
    if left_out:
        print(
            f"{counted(left_out, 'page')} left out: too large, too old (MOCRA_HTTPCACHE_KEEP), or no answers to GET",
            file=sys.stderr,
        )
    return 0


async def _stored(one: _Cache, page: ArchivedPage, variant: Stored, ours: bool) -> bool:
    if time.time() - variant.received >= one.options.keep:
        return False
    if ours:
        name = page_name(page.ask.url)
        return await one.pages.write(name, with_variant(await one.pages.read(name), variant), personal=True)
    method = page.ask.method.decode("latin-1")
    request = Request(page.ask.url, method=method, body=page.body)
    kept = with_extra(variant, url=request.url, method=method, body=page.body)
    return await one.pages.write(print_name(request.url, _fingerprint(one.settings, request)), [kept], personal=True)


def _fingerprint(settings: BaseSettings, request: Request) -> bytes:
    """By the project's own fingerprinter. (One that wants a crawler gets none.)"""

    class Crawler:
        pass

    crawler: Any = Crawler()
    crawler.settings = settings
    cls = load_object(settings["REQUEST_FINGERPRINTER_CLASS"])
    found: bytes = build_from_crawler(cls, crawler).fingerprint(request)
    return found
