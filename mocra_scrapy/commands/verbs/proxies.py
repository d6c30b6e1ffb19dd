"""``scrapy mocra proxies``: what all workers know of the proxies of a pool."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import FINE, NO_SENSE, WRONG, with_backend
from mocra_scrapy.commands.verbs.slot_words import in_words, seconds_of
from mocra_scrapy.exceptions import ConfigurationError, NotSupported
from mocra_scrapy.interfaces import IProxyPools
from mocra_scrapy.models import ProxyRecord, ProxyRules
from mocra_scrapy.models.proxies import BY_HAND
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.crawl import read_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mocra_scrapy.interfaces import IBackend, IProxies

#: Action -> how many words it takes.
ACTIONS = {"list": (0, 0), "show": (1, 1), "drop": (1, 2), "revive": (0, None), "refresh": (0, 0)}
USAGE = "list | show PROXY | drop PROXY [TIME] | revive PROXY … | refresh"


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """List the proxies of a pool by their identities: how they do, which are out, where and for how
    long, and who uses them; take one out, bring it back, have providers read again. Exit codes: 0;
    1 it can't be done, or it was not so; 2 the command line makes no sense.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("words", nargs="*", metavar="action PROXY …", help=USAGE)
        parser.add_argument("--pool", metavar="NAME", help="MOCRA_PROXY_POOL; default: the project's name")
        parser.add_argument("--out", action="store_true", help="list: only those that are out somewhere")
        parser.add_argument("--all", action="store_true", help="revive: every proxy that is out")
        parser.add_argument("--json", action="store_true", help="a line of JSON for each record")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        action, *words = options.words or ["list"]
        least, most = ACTIONS.get(action, (0, -1))
        if action not in ACTIONS or len(words) < least or (most is not None and len(words) > most):
            print(f"usage: scrapy mocra proxies {USAGE}", file=sys.stderr)
            return NO_SENSE
        if action == "revive" and bool(words) == options.all:
            print("Name the proxies, or say --all", file=sys.stderr)
            return NO_SENSE
        assert command.settings is not None
        pool = (
            options.pool or command.settings.get("MOCRA_PROXY_POOL") or read_options(command.settings, "spider").project
        )
        done: list[int] = []

        async def use(backend: IBackend) -> None:
            if not IProxyPools.providedBy(backend):
                raise NotSupported("MOCRA_BACKEND", f"{backend.url} has no proxy pools", "Use a Redis URL")
            proxies: IProxies = backend.proxies(pool, ProxyRules())
            done.append(await _do(proxies, action, words, options, pool))

        return with_backend(command, use) or done[0]


async def _do(proxies: IProxies, action: str, words: list[str], options: argparse.Namespace, pool: str) -> int:
    if action == "refresh":
        print(f"All workers of pool {pool!r} read their providers again, number {await proxies.refresh()}")
        return FINE
    records = await _all(proxies)
    if action in ("list", "show"):
        return await _list(proxies, records, words[0] if words else "", options, pool)
    if action == "drop":
        seconds = seconds_of(words[1]) if len(words) > 1 else BY_HAND
        _known(words[0], records)
        await proxies.take_out(words[0], seconds)
        print(f"{words[0]}: out " + (f"for {in_words(seconds)}" if len(words) > 1 else "until somebody revives it"))
        return FINE
    out = [one for one in records if one.is_half_open and one.proxy and (options.all or one.proxy in words)]
    for word in words:
        _known(word, records)
    done = [one for one in out if await proxies.bring_back(one.proxy, one.site)]
    for one in done:
        print(f"{one.proxy}: back for {one.site or 'all sites'}")
    if not done:
        print("None of them was out")
    return FINE if done else WRONG


def _known(proxy: str, records: list[ProxyRecord]) -> None:
    if not any(one.proxy == proxy for one in records):
        raise ConfigurationError(proxy, "no worker has told anything of such a proxy", "See: scrapy mocra proxies list")


async def _all(proxies: IProxies) -> list[ProxyRecord]:
    found: dict[tuple[str, str], ProxyRecord] = {}
    version = 0
    while True:
        some, version = await proxies.look(version)
        if not some:
            return sorted(found.values(), key=lambda one: (one.proxy, one.site))
        found.update({(one.proxy, one.site): one for one in some})


async def _list(
    proxies: IProxies, records: list[ProxyRecord], only: str, options: argparse.Namespace, pool: str
) -> int:
    use = (await proxies.use()).permits
    if only:
        _known(only, records)
    out_at: dict[str, list[str]] = {}
    for one in records:
        if one.proxy and one.site and one.is_half_open:
            out_at.setdefault(one.proxy, []).append(one.site)
    whole = {one.proxy: ProxyRecord(one.proxy, "") for one in records if one.proxy}  # some only have failed at a site
    whole.update({one.proxy: one for one in records if one.proxy and not one.site})
    shown = [one for one in records if one.proxy == only] if only else list(whole.values())
    if options.out:
        shown = [one for one in shown if one.is_half_open or one.proxy in out_at]
    for one in shown:
        facts = facts_of(one, use.get(one.proxy, {}), out_at.get(one.proxy, []))
        print(json.dumps(facts) if options.json else line_of(one, facts, bool(only)))
    down = [one for one in records if not one.proxy and one.wait > 0]
    if not options.json and not only:
        for one in down:
            print(f"Site {one.site} counts as down for {in_words(one.wait)}: no proxy is blamed for it")
        if not shown and not down:
            print(f"Nothing {'is out' if options.out and records else 'is known of proxies'} in pool {pool!r}")
    return FINE


def facts_of(one: ProxyRecord, permits: Mapping[str, int], out_at: list[str]) -> dict[str, Any]:
    """For other programs."""
    state = "in" if not one.is_half_open else "out" if one.wait > 0 else "half-open"
    return {
        "proxy": one.proxy,
        "site": one.site,
        "state": state,
        "wait": round(one.wait, 3),
        "why": one.why,
        "times": one.times,
        "success": round(one.success, 4),
        "latency": round(one.latency, 4),
        "row": one.row,
        "permits": dict(permits),
        "out_at": out_at,
    }


def line_of(one: ProxyRecord, facts: Mapping[str, Any], with_site: bool) -> str:
    """For people."""
    name = f"{one.proxy} at {one.site or 'all sites'}" if with_site else one.proxy
    told = [f"{name}: {facts['state']}"]
    if one.is_half_open:
        told[0] += f" for {in_words(one.wait)} ({one.why})" if one.wait > 0 else f" ({one.why}), its probe decides"
    told.append(f"{one.success:.0%} succeed" + (f" in {one.latency:.2f} s" if one.latency else ""))
    if facts["permits"] and not one.site:
        told.append(
            f"{counted(sum(facts['permits'].values()), 'permit')} at {counted(len(facts['permits']), 'worker')}"
        )
    if facts["out_at"] and not one.site and not with_site:
        sites = facts["out_at"]
        told.append(f"out for {', '.join(sites[:3])}" + (f" and {len(sites) - 3} more sites" if len(sites) > 3 else ""))
    return ", ".join(told)
