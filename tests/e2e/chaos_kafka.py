"""A crawl whose requests are in Kafka, under fire: workers killed, some stopped for twice the session's
time-out, workers that come and go every second, brokers killed: one, and the one that has the group.

    python -m tests.e2e.chaos_kafka                          three brokers, 2,000 pages, both protocols
    python -m tests.e2e.chaos_kafka --protocol consumer --seeds 5

A line of JSON each, see :mod:`tests.e2e.chaos`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mocra_scrapy.backends.kafka.log_names import LogNames
from tests.e2e.chaos import Chaos, Report
from tests.mocksite import MockSite
from tests.services.kafka_cluster import KafkaCluster
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer
from tests.services.warm import AnyProcess

SESSION = 3.0  # s


@dataclass(frozen=True)
class Fire:
    """What is done to a crawl, and how often: at *visits* a worker comes, and one leaves in good order;
    *guests*: meanwhile, one comes every second, and one leaves. *delay*: seconds between two pages of a slot,
    of which there are twelve, so that the crawl is not over before all is done. *lease*: of workers, long enough
    for as many of them as there are on two cores.
    """

    kills: int = 5
    pauses: int = 2
    visits: int = 5
    brokers: int = 2
    guests: bool = True
    delay: float = 0.5
    lease: float = 5.0


class KafkaChaos(Chaos):
    """Args:
    cluster: ``None``: brokers are others', and not killed.
    """

    spider = "spread"  # over partitions

    def __init__(
        self,
        site: MockSite,
        server: RedisServer,
        folder: Path,
        seed: int,
        *,
        bootstrap: str,
        protocol: str,
        fire: Fire,
        cluster: KafkaCluster | None = None,
    ) -> None:
        super().__init__("mocra", site, server, folder, seed, fire.kills)
        self.report.scheduler = f"mocra on Kafka ({protocol})"
        self.cluster, self.fire = cluster, fire
        self.guests: list[int] = []  # numbers of workers, the oldest first
        self.left: list[AnyProcess] = []
        self.came = time.monotonic()
        self.group = LogNames(f"t{id(self):x}", self.crawl).group
        copies = {"MOCRA_KAFKA_REPLICATION": 3 if cluster else 1, "MOCRA_KAFKA_PARTITIONS": 6 if cluster else 2}
        self.settings = {
            "MOCRA_LEASE": fire.lease,
            "MOCRA_KEEP_SEEN": True,
            "MOCRA_QUEUE_BACKEND": f"kafka://{bootstrap}/t{id(self):x}",
            "MOCRA_STATE_BACKEND": server.url,
            "MOCRA_KAFKA_CREATE_TOPICS": True,
            "MOCRA_KAFKA_GROUP_PROTOCOL": protocol,
            "MOCRA_KAFKA_SESSION_TIMEOUT": SESSION,
            "MOCRA_KAFKA_REVOKE_TIMEOUT": 1,
            "MOCRA_START_TIMEOUT": 120,
            # Small, so that much of the crawl is in the log and not in the window.
            "MOCRA_KAFKA_WINDOW": 100,
            "DOWNLOAD_DELAY": fire.delay,
            **copies,
        }

    def start(self) -> None:
        self.alive.append(self.workers.start(self.spider, site=self.site.url, **self.settings))

    def deeds(self) -> list[Callable[[], None]]:
        fire = self.fire
        return [
            *[self.kill] * fire.kills,
            *[self.pause] * fire.pauses,
            *[self.visit] * fire.visits,
            *[self.kill_broker, self.kill_coordinator][: fire.brokers],
        ]

    def run(self) -> Report:
        began = time.monotonic()
        for _ in range(3):
            self.start()
        deeds = self.deeds()
        moments = sorted(self.random.sample(range(self.site.pages // 20, 2 * self.site.pages // 3), len(deeds)))
        self.random.shuffle(deeds)
        try:
            for moment, deed in zip(moments, deeds, strict=True):
                if self.reach(moment):
                    deed()
            while self.guests:
                self.see_off()
            self.report.exit_codes = [worker.wait(180) for worker in (*self.alive, *self.left)]
        finally:
            self.workers.kill()
        self.report.seconds = round(time.monotonic() - began, 1)
        return self.judge()

    def reach(self, pages: int) -> bool:
        self.while_guests_come(lambda: len(self.site.arrivals()) >= pages or self.is_over, f"{pages} fetched pages")
        return not self.is_over

    @property
    def is_over(self) -> bool:
        return all(worker.poll() is not None for worker in self.alive)

    def while_guests_come(self, condition: Callable[[], bool], what: str = "") -> None:
        """Wait for *condition*. In each second a worker comes, and the oldest guest leaves; less often where the
        machine has not started and ended those before.
        """

        def there() -> bool:
            leaving = sum(worker.poll() is None for worker in self.left)
            due = self.fire.guests and leaving < 2 and time.monotonic() - self.came >= 1.0
            if due and not self.is_over:
                if len(self.guests) > 1:
                    self.see_off()
                self.came = time.monotonic()
                self.guests.append(len(self.workers.all))
                self.workers.start(self.spider, site=self.site.url, **self.settings)
            return condition()

        eventually(there, 600, what)

    def see_off(self) -> None:
        """The oldest guest leaves, if the crawl is not over before. One that could not begin is told by its exit
        code.
        """
        number = self.guests.pop(0)
        with contextlib.suppress(AssertionError):
            self.workers.until_open(number)
        self.workers.all[number].send_signal(signal.SIGTERM)
        self.left.append(self.workers.all[number])
        self.report.visits += 1

    def pause(self) -> None:
        """SIGSTOP for twice the session's time-out, and for longer than the lease."""
        victim = self.victim()
        victim.send_signal(signal.SIGSTOP)
        self.note_held(victim.pid)
        until = time.monotonic() + max(2 * SESSION, 1.5 * self.fire.lease)
        self.while_guests_come(lambda: time.monotonic() > until)
        victim.send_signal(signal.SIGCONT)
        self.report.pauses += 1

    def visit(self) -> None:
        """A worker comes, and one leaves in good order: two rebalances."""
        self.start()
        newest = self.alive[-1]
        pages = len(self.site.arrivals())
        self.while_guests_come(lambda: len(self.site.arrivals()) >= pages + 20 or newest.poll() is not None, "20 pages")
        leaver = self.victim() if newest.poll() is None else None
        if leaver is not None:
            leaver.send_signal(signal.SIGTERM)
            leaver.wait(120)
            self.alive.remove(leaver)
            self.report.visits += 1

    def kill_broker(self) -> None:
        assert self.cluster is not None
        self._kill_node(self.random.choice(sorted(self.cluster.nodes)))

    def kill_coordinator(self) -> None:
        assert self.cluster is not None
        self._kill_node(self.cluster.coordinator(self.group))

    def _kill_node(self, node: int) -> None:
        """And start it again while the crawl goes on."""
        assert self.cluster is not None
        self.cluster.kill(node)
        self.report.restarts += 1
        self.cluster.start_again(node)


def run(
    folder: Path,
    *,
    pages: int,
    seed: int,
    protocol: str,
    fire: Fire,
    bootstrap: str | None = None,
) -> tuple[Report, KafkaChaos]:
    """On brokers of its own, or on those of *bootstrap*."""
    server = RedisServer(folder / "redis", appendfsync="everysec")
    cluster = KafkaCluster(folder / "kafka", SESSION) if bootstrap is None else None
    (folder / "workers").mkdir()
    try:
        server.start()
        if cluster is not None:
            cluster.start()
        with MockSite(pages=pages) as site:
            chaos = KafkaChaos(
                site,
                server,
                folder / "workers",
                seed,
                bootstrap=bootstrap or (cluster.bootstrap if cluster else ""),
                protocol=protocol,
                fire=fire,
                cluster=cluster,
            )
            return chaos.run(), chaos
    finally:
        server.kill()
        if cluster is not None:
            cluster.stop()


def is_good(report: Report) -> bool:
    # Each run ends once. A worker that comes when all is done begins another one.
    once = report.ends == [*range(1, len(report.ends) + 1)] != []
    is_whole = not report.lost and not report.without_item and once
    return is_whole and report.repeats <= report.held and not any(report.exit_codes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=["classic", "consumer", "both"], default="both")
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="so many, from --seed on")
    options = parser.parse_args()
    protocols = ["classic", "consumer"] if options.protocol == "both" else [options.protocol]
    good = True
    for seed in range(options.seed, options.seed + options.seeds):
        for protocol in protocols:
            with tempfile.TemporaryDirectory() as folder:
                report, _ = run(Path(folder), pages=options.pages, seed=seed, protocol=protocol, fire=Fire())
            shown = asdict(report) | {"lost": len(report.lost), "without_item": len(report.without_item)}
            print(json.dumps(shown), flush=True)
            good = good and is_good(report)
    sys.exit(not good)


if __name__ == "__main__":
    main()
