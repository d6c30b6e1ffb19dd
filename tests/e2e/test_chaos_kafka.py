"""P1, P5 and P7 with requests in Kafka, see :mod:`tests.e2e.chaos_kafka`: the short form, on one broker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import need_redis
from tests.e2e.chaos import LEASE
from tests.e2e.chaos_kafka import Fire, run
from tests.services.kafka_broker import KafkaBroker

pytestmark = [pytest.mark.redis, pytest.mark.kafka, pytest.mark.e2e, pytest.mark.chaos, pytest.mark.other_server]


@pytest.mark.timeout(300)
def test_nothing_is_lost_under_fire(kafka: KafkaBroker, tmp_path: Path) -> None:
    """A SIGKILL, a SIGSTOP for twice the session's time-out, a worker that comes while another leaves."""
    need_redis()
    report, chaos = run(
        tmp_path,
        pages=250,
        seed=int(os.environ.get("CHAOS_SEED", "7")),
        protocol="classic",
        fire=Fire(kills=1, pauses=1, visits=1, brokers=0, guests=False, delay=0, lease=LEASE),
        bootstrap=kafka.bootstrap,
    )
    logs = "\n".join(chaos.workers.log(number)[-2000:] for number in range(len(chaos.workers.all)))
    assert (report.kills, report.pauses) == (1, 1), report
    assert report.lost == [], f"{report}\n{logs}"
    assert report.without_item == [], report
    assert not any(report.exit_codes), f"{report}\n{logs}"
    assert report.repeats <= report.held, report
    assert report.ends == [*range(1, len(report.ends) + 1)], "the end of a run comes once"
