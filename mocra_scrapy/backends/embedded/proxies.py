"""The rules of :class:`~mocra_scrapy.interfaces.IProxies`: how proxies do, who has permits of them,
which sticky key has which.

==============  ================================================================================
``records``     (proxy, site) -> :class:`Record`, the one that changed last at the end
``outages``     site -> :class:`Outage`, from its first failure to its next success
``workers``     worker -> :class:`Holder`
``taken``       proxy -> permits that all workers hold
``bindings``    sticky key -> (proxy, when it ends), the one that was used last at the end
==============  ================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mocra_scrapy.models.proxies import (
    BAN,
    CREDENTIALS,
    DOUBT,
    HARD,
    KEEP,
    MOST_RECORDS,
    OF_PROXY,
    OF_SITE,
    PAGE,
    REMEMBER,
    UNPROVED,
    WITNESSES,
    ProxyRecord,
    ProxyReport,
    ProxyRules,
)


@dataclass(slots=True)
class Record:
    """A proxy at a site, or as a whole. Times are of the store's clock, in seconds.

    Attributes:
        until: when it may be probed; 0: it is in. ``at``: when it went out.
        good: when it last succeeded.
        at_site: where the first failure of the row was; ``is_mixed``: whether another one was
            elsewhere, or the proxy's own.
        prober: who has its probe, until ``probed``.
    """

    success: float = 1.0
    latency: float = 0.0
    row: int = 0
    times: int = 0
    until: float = 0.0
    at: float = 0.0
    good: float = 0.0
    at_site: str = ""
    is_mixed: bool = False
    why: str = ""
    prober: str = ""
    probed: float = 0.0
    version: int = 0
    changed: float = 0.0


@dataclass(slots=True)
class Outage:
    """A site of which nothing succeeded since its first failure: proxy -> (when it first failed
    there, whether the site refused it).
    """

    failed: dict[str, tuple[float, bool]] = field(default_factory=dict)
    down_until: float = 0.0


@dataclass(slots=True)
class Holder:
    """A worker: the number of its last call, until when it counts as alive, what it holds."""

    number: int = 0
    until: float = 0.0
    permits: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Judgement:
    """What one call changed, for who tells people."""

    out: list[tuple[str, str]] = field(default_factory=list)
    back: list[tuple[str, str]] = field(default_factory=list)
    down: list[str] = field(default_factory=list)


class StoredProxies:
    """See the table above."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.outages: dict[str, Outage] = {}
        self.workers: dict[str, Holder] = {}
        self.taken: dict[str, int] = {}
        self.bindings: dict[str, tuple[str, float]] = {}
        self.version = self.refreshes = 0
        self.short_until = 0.0

    # ------------------------------------------------------------------ records

    def _touch(self, proxy: str, site: str, now: float) -> Record:
        """The record, which changes now."""
        record = self.records.pop((proxy, site), None) or Record()
        self.records[proxy, site] = record
        self.version += 1
        record.version, record.changed = self.version, now
        return record

    def trim(self, now: float) -> None:
        """Forget what did not change for long, and what is too much."""
        for key, record in list(self.records.items())[:100]:
            if record.changed + REMEMBER >= now and len(self.records) <= MOST_RECORDS:
                break
            del self.records[key]
            self.outages.pop(key[1] if not key[0] else "", None)

    def since(self, version: int) -> Sequence[tuple[str, str, Record]]:
        """Those that changed after *version*, the first first; :data:`PAGE` at most."""
        found = []
        for (proxy, site), record in reversed(self.records.items()):
            if record.version <= version:
                break
            found.append((proxy, site, record))
        return found[::-1][:PAGE]

    def told(self, proxy: str, site: str, record: Record, now: float) -> ProxyRecord:
        if not proxy:
            outage = self.outages.get(site)
            return ProxyRecord("", site, wait=max(0.0, outage.down_until - now) if outage else 0.0)
        return ProxyRecord(
            proxy,
            site,
            record.success,
            record.latency,
            record.row,
            record.times,
            max(0.0, record.until - now) if record.until else 0.0,
            bool(record.until),
            record.why,
        )

    # ------------------------------------------------------------------ reports

    def report(self, one: ProxyReport, rules: ProxyRules, now: float, said: Judgement) -> None:
        """Count *one*."""
        if one.good:
            self._site_works(one.site, now)
            for site, probe in ((one.site, OF_SITE), ("", OF_PROXY)):
                self._succeeded(one, site, bool(one.probe & probe), now, said)
        if one.bad and one.kind in HARD:
            self._failed(one, "", rules, now, said)
        elif one.bad and not self._is_down(one, rules, now, said):
            self._failed(one, one.site, rules, now, said)
            if one.kind == DOUBT:
                self._failed(one, "", rules, now, said)
            elif one.probe & OF_PROXY:  # refused by the site: it got there
                self._succeeded(ProxyReport(one.proxy, one.site, 1), "", True, now, said)
        for bit, site in ((OF_PROXY, ""), (OF_SITE, one.site)):
            record = self.records.get((one.proxy, site))
            if one.probe & bit and record is not None and record.prober:  # it said nothing
                record = self._touch(one.proxy, site, now)
                record.prober = ""
                if one.bad and record.until:  # the site is at fault: there is no use in trying at once again
                    record.until = max(record.until, now + rules.cool_down)

    def _succeeded(self, one: ProxyReport, site: str, is_probe: bool, now: float, said: Judgement) -> None:
        record = self._touch(one.proxy, site, now)
        kept = KEEP**one.good
        record.success = 1 - (1 - record.success) * kept
        if one.latency > 0:
            record.latency = one.latency + (record.latency - one.latency) * kept if record.latency else one.latency
        record.good = max(record.good, now - one.age)
        if record.until and is_probe:
            record.until, record.prober, record.why = 0.0, "", ""
            record.row, record.times = 0, record.times // 2
            said.back.append((one.proxy, site))
        elif not record.until:
            record.row, record.is_mixed, record.at_site = 0, False, ""
            record.times = max(0, record.times - 1)

    def _failed(self, one: ProxyReport, site: str, rules: ProxyRules, now: float, said: Judgement) -> None:
        record = self._touch(one.proxy, site, now)
        record.success *= KEEP**one.bad
        if record.until:
            if one.probe & (OF_SITE if site else OF_PROXY):
                self._go_out(record, one.kind, rules, now)
            return
        if record.row == 0 or one.good:
            record.row, record.at_site, record.is_mixed = 0, one.site, False
        record.is_mixed = record.is_mixed or one.kind in HARD or record.at_site != one.site
        record.row = min(rules.failures, record.row + (one.row if one.good else one.bad))
        is_out = record.row >= rules.failures and (bool(site) or record.is_mixed)
        if is_out or one.kind == CREDENTIALS:
            self._go_out(record, one.kind, rules, now)
            said.out.append((one.proxy, site))

    def _go_out(self, record: Record, why: str, rules: ProxyRules, now: float) -> None:
        record.times, record.row, record.prober, record.why, record.at = record.times + 1, 0, "", why, now
        base = rules.ban_cool_down if why == BAN else rules.cool_down
        longest = max(rules.cool_down_max, base)
        wait = longest if why == CREDENTIALS else min(longest, base * 2 ** min(30, record.times - 1))
        record.until = now + wait

    # ------------------------------------------------------------------ sites

    def _site_works(self, site: str, now: float) -> None:
        if self.outages.pop(site, None) is not None:
            self._touch("", site, now)

    def _is_down(self, one: ProxyReport, rules: ProxyRules, now: float, said: Judgement) -> bool:
        """Whether *one*, a failure, is the site's fault."""
        outage = self.outages.setdefault(one.site, Outage())
        self._touch("", one.site, now)
        if one.proxy in outage.failed or len(outage.failed) < WITNESSES:
            first, is_ban = outage.failed.get(one.proxy, (now, True))
            outage.failed[one.proxy] = (first, is_ban and one.kind == BAN)
        if outage.down_until <= now:
            weight = sum(
                1.0 if not is_ban and self._works_elsewhere(proxy, first) else UNPROVED
                for proxy, (first, is_ban) in outage.failed.items()
            )
            if weight < rules.several - 0.001:
                return False
            said.down.append(one.site)
        outage.down_until = now + rules.site_down
        for proxy, (first, _) in outage.failed.items():
            self._pardon(proxy, one.site, first, now, said)
        return True

    def _works_elsewhere(self, proxy: str, first: float) -> bool:
        record = self.records.get((proxy, ""))
        return record is not None and record.good > first

    def _pardon(self, proxy: str, site: str, first: float, now: float, said: Judgement) -> None:
        """What *proxy* did at *site* since *first* was the site's fault."""
        record = self.records.get((proxy, site))
        if record is not None and (record.row or record.until) and (not record.until or record.at >= first):
            if record.until:
                said.back.append((proxy, site))
                record.times -= 1
            record = self._touch(proxy, site, now)
            record.row, record.until, record.why, record.prober = 0, 0.0, "", ""
        whole = self.records.get((proxy, ""))
        if whole is not None and whole.row and not whole.is_mixed and whole.at_site == site:
            self._touch(proxy, "", now).row = 0

    # ------------------------------------------------------------------ probes

    def probe(self, worker: str, proxy: str, site: str, rules: ProxyRules, now: float) -> bool:
        """Whether *worker* may try it now."""
        record = self.records.get((proxy, site))
        if record is None or not record.until or record.until > now:
            return False
        holder = self.workers.get(record.prober)
        if record.prober not in ("", worker) and record.probed > now and holder is not None and holder.until > now:
            return False
        record.prober, record.probed = worker, now + rules.probe
        return True

    # ------------------------------------------------------------------ people

    def take_out(self, proxy: str, seconds: float, now: float) -> None:
        """A person takes *proxy* out."""
        record = self._touch(proxy, "", now)
        record.until, record.at, record.why, record.prober, record.row = now + seconds, now, "hand", "", 0

    def bring_back(self, proxy: str, site: str, now: float) -> bool:
        """A person brings *proxy* back; whether it was out."""
        record = self.records.get((proxy, site))
        if record is None or not record.until:
            return False
        record = self._touch(proxy, site, now)
        record.until, record.why, record.prober, record.row, record.times = 0.0, "", "", 0, 0
        return True
