"""``scrapy mocra cache import``: what is in a file and may be stored in this scope, is."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy.http import Request, Response
from scrapy.utils.misc import load_object

from mocra_scrapy.cache.httpcache.archive_reading import Unread, read_archive
from mocra_scrapy.cache.httpcache.page_cache import asked_with, rules_of
from mocra_scrapy.cache.httpcache.pages import page_name, print_name
from mocra_scrapy.cache.httpcache.record import with_extra
from mocra_scrapy.cache.httpcache.selecting import with_variant
from mocra_scrapy.cache.httpcache.storing import cleaned, why_not, why_not_shared
from mocra_scrapy.commands.verbs.cache_scope import fingerprint_of
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.httpcache import policy_is_ours

if TYPE_CHECKING:
    from mocra_scrapy.cache.httpcache.archives import ArchivedPage
    from mocra_scrapy.cache.httpcache.messages import Rules, Stored
    from mocra_scrapy.commands.verbs.cache_scope import CacheOfScope

#: Entries that can't be read of which a line is printed each.
MOST_TOLD = 10


async def import_pages(one: CacheOfScope, file: str) -> int:
    """Store the pages of *file*, and tell how many were not, and why. The command's exit code: 1 where
    the file is cut off.
    """
    pages = _Pages(one)
    done, unread, cut, left_out = 0, 0, False, Counter[str]()
    for number, page in enumerate(read_archive(Path(file)), 1):
        found = page if isinstance(page, Unread) else await pages.store(number, page)
        if isinstance(found, Unread):
            unread, cut = unread + 1, cut or found.cut
            if unread <= MOST_TOLD:
                print(f"{file}: entry {found.number} left out{_of(found.url)}: {found.why}", file=sys.stderr)
        elif found:
            left_out[found] += 1
        else:
            done += 1
    print(f"{file}: {counted(done, 'page')} stored in scope {one.scope}")
    if unread > MOST_TOLD:
        print(f"{file}: {counted(unread, 'entry')} left out that can't be read", file=sys.stderr)
    for why, how_many in left_out.most_common():
        print(f"{counted(how_many, 'page')} left out: {why}", file=sys.stderr)
    if cut:
        print(f"Error: {file}: it is cut off or damaged: what comes after the entry above is not read", file=sys.stderr)
    return 1 if cut else 0


def _of(url: str) -> str:
    return f" ({ascii(url)[1:-1][:200]})" if url else ""


class _Pages:
    """What may be stored of what a file has, by the rules of a scope."""

    def __init__(self, one: CacheOfScope) -> None:
        self._one, self._ours = one, policy_is_ours(one.settings)
        self._rules: Rules = replace(rules_of(one.options), always_store=True)
        self._policy: Any = None if self._ours else load_object(one.settings["HTTPCACHE_POLICY"])(one.settings)

    async def store(self, number: int, page: ArchivedPage) -> str | Unread:
        """Why it was not stored; ``""``: it was."""
        if page.variant is None:
            return "they vary by what the file does not tell"
        try:
            request = self._request(page)
        except ValueError as error:  # also of names and values that a header can't have
            return Unread(number, page.ask.url, f"it is nothing that could be asked for: {error}")
        if time.time() - page.variant.received >= self._one.options.keep:
            return "too old (MOCRA_HTTPCACHE_KEEP)"
        variant = cleaned(page.variant, self._rules)
        why = why_not(page.variant, page.ask, self._rules) if self._ours else self._why_not(page, variant, request)
        return why or await self._stored(page, variant, request)

    def _request(self, page: ArchivedPage) -> Request:
        ask = page.ask
        headers = {name.decode("latin-1"): lines for name, lines in ask.fields.items()}
        request = Request(ask.url, method=ask.method.decode("latin-1"), headers=headers, body=page.body)
        if not urlsplit(request.url).netloc:
            raise ValueError("its URL has no host")
        return request

    def _why_not(self, page: ArchivedPage, variant: Stored, request: Request) -> str:
        """By one of Scrapy's policies."""
        policy = self._policy
        if why := why_not_shared(page.variant or variant, page.ask, self._rules):
            return why
        answer = variant.answer
        headers = {name.decode("latin-1"): lines for name, lines in answer.fields.items()}
        response = Response(request.url, answer.status, headers, answer.body)
        if policy.should_cache_request(request) and policy.should_cache_response(response, request):
            return ""
        return "HTTPCACHE_POLICY does not store them"

    async def _stored(self, page: ArchivedPage, variant: Stored, request: Request) -> str:
        pages, counts = self._one.pages, self._one.counts
        before = counts["mocra/httpcache/too_large"]
        kept = with_extra(variant, **asked_with(page.ask))
        if self._ours:
            name = page_name(request.url)
            done = await pages.write(name, with_variant(await pages.read(name), kept), personal=True)
        else:
            kept = with_extra(kept, url=request.url, method=request.method, body=page.body)
            name = print_name(request.url, fingerprint_of(self._one.settings, request))
            done = await pages.write(name, [kept], personal=True)
        if done:
            return ""
        large = counts["mocra/httpcache/too_large"] > before
        return "too large (MOCRA_HTTPCACHE_ENTRY_MAX_BYTES)" if large else "the backend could not store them"
