"""``scrapy mocra cache look|purge|export|import``: pages that the HTTP cache keeps."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy.commands import ScrapyCommand
from scrapy.http import Request
from scrapy.spiderloader import get_spider_loader

from mocra_scrapy.cache.httpcache import listing
from mocra_scrapy.cache.httpcache.archives import ArchivedPage, HarWriter, WarcWriter, is_har
from mocra_scrapy.cache.httpcache.freshness import current_age, lifetime
from mocra_scrapy.cache.httpcache.messages import Ask
from mocra_scrapy.cache.httpcache.page_cache import rules_of
from mocra_scrapy.commands.verbs.cache_import import import_pages
from mocra_scrapy.commands.verbs.cache_scope import CacheOfScope, names_of, opened_cache
from mocra_scrapy.commands.verbs.verb import positive
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.wording import counted
from mocra_scrapy.runtime.figures import duration, size

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings


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
        parser.add_argument("--url", help="purge: only this page, of all cookie jars")
        parser.add_argument(
            "--site",
            metavar="HOST[:PORT]",
            help="purge, export: only pages of this host, as look shows it: without a port those whose URLs have none",
        )
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
    return _senseless_choice(options) or (_wrong_url(options.where) if options.what == "look" else "")


def _senseless_choice(options: argparse.Namespace) -> str:
    """What is wrong with ``--url`` and ``--site``: neither may be passed over, for less would be chosen than
    everything.
    """
    url, site = options.url, options.site
    if url is not None and options.what != "purge":
        return f"--url means nothing after {options.what}: it is for purge"
    if site is not None and options.what not in ("purge", "export"):
        return f"--site means nothing after {options.what}: it is for purge and export"
    if url is not None and site is not None:
        return "--url and --site don't go together: a page, or all pages of a host"
    if url is not None and not url.strip():
        return "--url is empty: give a page, or leave it out for everything"
    if site is not None and (not site.strip() or any(c in site for c in "/@ ")):
        return f"--site {site!r} is no host: write it as look shows it (example.com, example.com:8080)"
    return _wrong_url(url or "")


def _wrong_url(url: str) -> str:
    """What is wrong with *url*; nothing, where there is none."""
    try:
        return "" if not url or urlsplit(Request(url).url).netloc else f"{url!r} is no URL: it has no host"
    except ValueError as error:
        return f"{url!r} is no URL: {error}. Write it as in http://example.com/page"


def _settings_of(settings: BaseSettings, spider: str) -> BaseSettings:
    """Those of the spider, if the project has it."""
    chosen = settings.copy()
    loader = get_spider_loader(chosen)
    if spider in loader.list():
        loader.load(spider).update_settings(chosen)
    return chosen


async def _run(options: argparse.Namespace, settings: BaseSettings) -> int:
    async with opened_cache(settings, options.spider) as one:
        if options.what == "look":
            return await (_look_at(one, options) if options.where else _look(one, options))
        if options.what == "purge":
            return await _purge(one, options)
        return await (_export(one, options) if options.what == "export" else import_pages(one, options.where))


# ------------------------------------------------------------------ look


async def _look(one: CacheOfScope, options: argparse.Namespace) -> int:
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


async def _look_at(one: CacheOfScope, options: argparse.Namespace) -> int:
    url, now, rules = options.where, time.time(), rules_of(one.options)
    names = [name for page in names_of(one, url) for name in await listing.names_with(one.cache, page)]
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


async def _purge(one: CacheOfScope, options: argparse.Namespace) -> int:
    what = options.url or (f"all pages of {options.site}" if options.site else f"everything in scope {one.scope}")
    if not options.yes:
        print(f"Delete {what}? [y/N] ", end="", flush=True)
        if (await asyncio.to_thread(sys.stdin.readline)).strip().lower() not in ("y", "yes"):
            print("Nothing was deleted")
            return 1
    names = names_of(one, options.url) if options.url else ()
    gone = await listing.purge(one.cache, one.pages, (options.site or "").lower(), names)
    print(f"Deleted: {counted(gone, 'entry')}")
    return 0


# ------------------------------------------------------------------ export, import


async def _export(one: CacheOfScope, options: argparse.Namespace) -> int:
    path, pages, left_out = Path(options.output), 0, 0
    with HarWriter(path) if is_har(path) else WarcWriter(path) as writer:
        async for name, variants in listing.entries_of(one.cache, one.pages, (options.site or "").lower()):
            if "~" in name:
                left_out += 1
                continue
            for stored in variants:
                extra = stored.extra
                fields = {name: [value] for name, value in stored.selecting.items() if value is not None}
                for known in _names(extra.get("asked_with")):
                    fields.setdefault(known, [b"(left out)"])  # who imports it knows for whom it was made
                method, url = str(extra.get("method", "GET")), str(extra.get("url", stored.answer.url))
                body = extra.get("body", b"")
                asked = Ask(method.encode(), url, fields)
                writer.write(ArchivedPage(asked, stored, body if isinstance(body, bytes) else b""))
                pages += 1
    print(f"{path}: {counted(pages, 'page')}")
    if left_out:
        print(
            f"{counted(left_out, 'entry')} of cookie jars or sessions left out: a file does not say whose a page is",
            file=sys.stderr,
        )
    return 0


def _names(kept: object) -> list[bytes]:
    return [name for name in kept if isinstance(name, bytes)] if isinstance(kept, list) else []
