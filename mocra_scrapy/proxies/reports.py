"""What this worker saw of proxies and has not told yet."""

from __future__ import annotations

from collections.abc import Callable

from mocra_scrapy.models import ProxyReport
from mocra_scrapy.models.proxies import PROXY

#: Reports that wait while the store is away, at most; beyond these the oldest go.
MOST = 10_000


class Reports:
    """Outcomes, added up as far as their order does not matter.

    Args:
        clock: monotonic seconds.

    Attributes:
        is_urgent: whether others should hear of it at once.
        lost: reports that had to go.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str], tuple[ProxyReport, float]] = {}
        self._all: list[ProxyReport] = []
        self.is_urgent = False
        self.lost = 0

    def __len__(self) -> int:
        return len(self._all)

    def good(self, proxy: str, site: str, latency: float, probe: int = 0) -> None:
        """An answer came through."""
        known = self._last.get((proxy, site))
        if known is not None and not known[0].bad and not known[0].probe and not probe:
            report = known[0]
            if latency > 0:
                report.latency += (latency - report.latency) / (report.good + 1)
            report.good += 1
        else:
            report = self._add(ProxyReport(proxy, site, good=1, latency=latency, probe=probe))
        self._last[proxy, site] = report, self._clock()
        self.is_urgent = self.is_urgent or bool(probe)

    def bad(self, proxy: str, site: str, kind: str, probe: int = 0) -> None:
        """An attempt failed."""
        known = self._last.get((proxy, site))
        # Failures of one kind behind each other are one report, but what succeeded before is its own:
        # which of the two records a failure counts for depends on its kind.
        if known is not None and known[0].kind == kind and not known[0].probe and not probe:
            known[0].bad += 1
            known[0].row += 1
        else:
            report = self._add(ProxyReport(proxy, site, bad=1, row=1, kind=kind, probe=probe))
            self._last[proxy, site] = report, self._clock()
        self.is_urgent = True

    def unused(self, proxy: str, site: str, probe: int) -> None:
        """A probe was not made, or said nothing."""
        self._add(ProxyReport(proxy, site, kind=PROXY, probe=probe))
        self.is_urgent = True

    def _add(self, report: ProxyReport) -> ProxyReport:
        self._all.append(report)
        if len(self._all) > MOST:
            gone = self._all.pop(0)
            self.lost += 1
            if self._last.get((gone.proxy, gone.site), (None, 0.0))[0] is gone:
                del self._last[gone.proxy, gone.site]
        return report

    def take(self) -> list[ProxyReport]:
        """All of them; there are none afterwards."""
        now, found = self._clock(), self._all
        for report, at in self._last.values():
            if report.good:
                report.age = max(0.0, now - at)
        self._all, self._last, self.is_urgent = [], {}, False
        return found
