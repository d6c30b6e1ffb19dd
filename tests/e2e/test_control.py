"""Pause, resume, drain, stop, live settings, the list of workers: real crawls on Redis, told from
another process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.control import Control
from mocra_scrapy.exceptions import ConfigurationError
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import Stopwatch, eventually

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

T = TypeVar("T")
SLOW = {"CONCURRENT_REQUESTS": 2, "DOWNLOAD_DELAY": 0.1, "RANDOMIZE_DOWNLOAD_DELAY": False, "MOCRA_HEARTBEAT": 0.2}


def tell(workers: Workers, what: Callable[[Control], Awaitable[T]], crawl: str = "crawling:graph") -> T:
    """Say something to a crawl, as a script does."""

    async def say() -> T:
        backend = open_backend(workers.backend)
        await backend.open()
        control = Control(backend, crawl, by="test")
        try:
            return await what(control)
        finally:
            await control.close()
            await backend.close()

    return asyncio.run(say())


def quiet(site: MockSite, seconds: float) -> int:
    """Wait until nothing arrived for so long; how much did in all."""
    seen, since = sum(map(len, site.arrivals().values())), time.monotonic()

    def nothing_new() -> bool:
        nonlocal seen, since
        now = sum(map(len, site.arrivals().values()))
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > seconds

    eventually(nothing_new, what="silence")
    return seen


def arrived(site: MockSite) -> int:
    return sum(map(len, site.arrivals().values()))


def state_of(workers: Workers) -> list[str]:
    async def look(control: Control) -> list[str]:
        return sorted(report.facts["state"] for report in await control.workers())

    return tell(workers, look)


def test_pause_and_resume(site: MockSite, workers: Workers) -> None:
    """Within a second, on both workers; over a restart; nothing is lost, nothing is fetched twice."""
    for _ in range(2):
        workers.start("graph", site=site.url, **SLOW)
    workers.until("opened", 2)  # an order is for those who are there
    eventually(lambda: arrived(site) > 10)
    told = Stopwatch(site.pid, *(worker.pid for worker in workers.all))
    tell(workers, lambda control: control.pause())
    eventually(lambda: state_of(workers) == ["paused", "paused"])
    quiet(site, 1.0)
    assert arrived(site) < site.pages
    assert max(at for times in site.arrivals().values() for at in times) < told.began + told.waited() + 1.5
    workers.all[0].terminate()
    assert workers.all[0].wait(300) == 0
    third = workers.start("graph", site=site.url, **SLOW)
    workers.until("opened", 3)
    eventually(lambda: state_of(workers) == ["paused", "paused"])
    paused_at = arrived(site)
    assert quiet(site, 0.5) == paused_at, "a paused crawl that is started again stays paused"
    assert tell(workers, lambda control: control.paused()) == ["*"]
    tell(workers, lambda control: control.resume())
    assert third.wait(300) == 0
    workers.wait()
    assert set(site.arrivals()) == {f"/page/{n}" for n in range(site.pages)}
    assert "mocra/queue/redelivered" not in workers.stats()
    assert tell(workers, lambda control: control.workers()) == []
    assert [e["reason"] for e in workers.events("closed")] == ["shutdown", "finished", "finished"]
    assert not [i for i in range(3) if "Traceback" in workers.log(i)]


def test_one_worker_is_paused_drained_and_stopped(site: MockSite, workers: Workers) -> None:
    """The others go on; what it held is finished or handed back; it leaves with its reason."""
    for _ in range(3):
        workers.start("graph", site=site.url, **SLOW)
    workers.until("opened", 3)
    eventually(lambda: len(state_of(workers)) == 3)
    by_pid = {r.facts["pid"]: r.worker for r in tell(workers, lambda control: control.workers())}
    first, second, third = (by_pid[process.pid] for process in workers.all)
    tell(workers, lambda control: control.pause(first))
    eventually(lambda: state_of(workers) == ["paused", "running", "running"])
    tell(workers, lambda control: control.drain(second))
    assert workers.all[1].wait(300) == 0
    tell(workers, lambda control: control.stop(third))
    assert workers.all[2].wait(300) == 0
    assert [e["reason"] for e in workers.events("closed")] == ["mocra_drained", "mocra_stopped"]
    assert workers.all[0].poll() is None
    assert tell(workers, lambda control: control.paused()) == [first]
    with pytest.raises(ConfigurationError, match=f"There are: {first}"):
        tell(workers, lambda control: control.drain(second))
    assert arrived(site) < site.pages
    tell(workers, lambda control: control.resume())
    workers.wait()
    assert {f"/page/{n}" for n in range(site.pages)} == set(site.arrivals())
    assert [e["run"] for e in workers.events("finished")] == [1]
    assert tell(workers, lambda control: control.paused()) == []


def test_a_whole_crawl_is_stopped_and_started_again(site: MockSite, workers: Workers) -> None:
    """An order is for those who are there: the next worker resumes the run. ``start()`` that waits
    does not hinder draining.
    """
    for _ in range(2):
        workers.start("graph", site=site.url, **SLOW)
    workers.until("opened", 2)  # an order is for those who are there
    eventually(lambda: arrived(site) > 10)
    tell(workers, lambda control: control.stop())
    assert workers.wait() == [0, 0]
    assert arrived(site) < site.pages, "nobody waits for the rest"
    workers.start("graph", site=site.url)
    workers.wait()
    assert [e["reason"] for e in workers.events("closed")] == ["mocra_stopped", "mocra_stopped", "finished"]
    assert set(site.arrivals()) == {f"/page/{n}" for n in range(site.pages)}
    assert "mocra/queue/redelivered" not in workers.stats()
    hanging = workers.start("seeds", site=site.url, seeds=20, _hold_at=10, **SLOW)
    eventually(lambda: site.count("/ok/9"))
    tell(workers, lambda control: control.drain(), "crawling:seeds")
    assert hanging.wait(300) == 0
    assert workers.events("closed")[-1]["reason"] == "mocra_drained"


def test_live_settings(site: MockSite, workers: Workers) -> None:
    """Concurrency and log level change on all workers while they crawl; wrong values are refused,
    and ignored.
    """
    options = {**SLOW, "CONCURRENT_REQUESTS": 1, "DOWNLOAD_DELAY": 0, "CONCURRENT_REQUESTS_PER_DOMAIN": 50}
    site.gate(12)  # none of them is answered before all are asked for
    workers.start("list", site=site.url, paths=",".join(f"ok/{n}" for n in range(12)), **options)
    eventually(lambda: arrived(site) == 1)
    for name, value, match in (
        ("CONCURRENT_REQUESTS", 0, "whole number from 1"),
        ("CONCURRENT_REQUESTS", "many", "whole number from 1"),
        ("LOG_LEVEL", "LOUD", "Set one of DEBUG"),
        ("DOWNLOAD_TIMEOUT", 5, "These can: CONCURRENT_REQUESTS"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            tell(workers, lambda control, name=name, value=value: control.set(name, value), "crawling:list")

    async def junk(control: Control) -> None:
        await control._values.put("setting:MOCRA_PREFETCH", b'"lots"')

    async def change(control: Control) -> dict[str, Any]:
        await control.set("LOG_LEVEL", "DEBUG")
        await control.set("CONCURRENT_REQUESTS", 12)
        return dict(await control.settings())

    tell(workers, junk, "crawling:list")
    assert tell(workers, change, "crawling:list")["CONCURRENT_REQUESTS"] == 12
    eventually(lambda: arrived(site) == 12)
    workers.wait()
    log = workers.log()
    assert "DEBUG: Crawled (200)" in log
    assert "'setting:MOCRA_PREFETCH' in the store is not usable" in log
    assert "Traceback" not in log
    # They stay for whoever comes next, until they are reset.
    workers.start("list", site=site.url, paths="ok/1", **options)
    assert workers.all[1].wait(300) == 0
    assert "Setting CONCURRENT_REQUESTS is 12 now" in workers.log(1)
    tell(workers, lambda control: control.reset("CONCURRENT_REQUESTS"), "crawling:list")
    assert "CONCURRENT_REQUESTS" not in tell(workers, lambda control: control.settings(), "crawling:list")


def test_workers_tell_who_they_are(site: MockSite, workers: Workers) -> None:
    workers.start("list", site=site.url, paths="held/a,held/b,ok/1", MOCRA_HEARTBEAT=0.3, MOCRA_HEARTBEAT_TTL=2)
    eventually(lambda: arrived(site) == 3)
    killed = workers.start(
        "list", site=site.url, paths="held/a,held/b,ok/1", MOCRA_HEARTBEAT=0.3, MOCRA_HEARTBEAT_TTL=2
    )

    def reports() -> dict[int, dict[str, Any]]:
        found = tell(workers, lambda control: control.workers(), "crawling:list")
        assert {report.crawl for report in found} <= {"crawling:list"}
        return {report.facts["pid"]: {"worker": report.worker, **report.facts} for report in found}

    eventually(lambda: len(reports()) == 2 and reports()[workers.all[0].pid]["items"] == 1)
    facts = reports()[workers.all[0].pid]
    assert facts["worker"].split("-")[-2] == str(workers.all[0].pid)
    assert (facts["in_flight"], facts["downloading"], facts["run"], facts["state"]) == (2, 2, 1, "running")
    assert (facts["spider"], facts["pages"], facts["last_error"]) == ("list", 1, None)
    assert 20 < facts["memory_mb"] < 1000
    assert 0 <= facts["loop_lag"] < 5
    killed.kill()
    killed.wait()
    eventually(lambda: len(reports()) == 1, what="the dead one vanishes")
    workers.kill()
    eventually(lambda: reports() == {})
