"""``scrapy mocra kafka``, and what ``check`` prints of it."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from scrapy.settings import Settings

from mocra_scrapy.commands.verbs.check import _topics
from mocra_scrapy.commands.verbs.kafka import verb
from tests.services.kafka_broker import KafkaBroker
from tests.services.processes import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.other_server]


def test_topics_by_command(kafka: KafkaBroker, capsys: pytest.CaptureFixture[str]) -> None:
    crawl = f"shop:{uuid4().hex}"
    base = f"mine.{crawl.replace(':', '-3a')}"
    settings: dict[str, Any] = {
        "MOCRA_QUEUE_BACKEND": f"kafka://{kafka.bootstrap}/mine",
        "MOCRA_STATE_BACKEND": "redis://localhost",
        "MOCRA_KAFKA_PARTITIONS": 2,
    }

    def call(action: str, *, dry_run: bool = False, **more: Any) -> tuple[int, str, str]:
        command: Any = SimpleNamespace(settings=Settings({**settings, **more}))
        code = verb().run(argparse.Namespace(action=action, crawl=crawl, dry_run=dry_run), command)
        said = capsys.readouterr()
        return code, said.out, said.err

    code, _, errors = call("create-topics")
    assert code == 1
    assert "MOCRA_KAFKA_REPLICATION" in errors, "three copies on one broker"
    one = {"MOCRA_KAFKA_REPLICATION": 1}
    code, out, _ = call("topics", **one)
    assert (code, f"topic {base}.high and 5 more: missing. Run: scrapy mocra kafka create-topics" in out) == (1, True)
    code, out, errors = call("create-topics", dry_run=True, **one)
    assert (code, errors, out.count("Would create mine.")) == (0, "", 6)
    code, out, errors = call("create-topics", **one)
    assert (code, errors) == (0, "")
    assert f"Created {base}.wait-60: 2 partitions, replication 1, min.insync.replicas 1" in out
    eventually(lambda: call("topics", **one)[0] == 0, what="topics as they were asked for")
    assert "The topics are as the settings say" in call("topics", **one)[1]
    code, out, _ = call("create-topics", **one)
    assert (code, "6 topics of" in out) == (0, True)

    change = ConfigResource(
        ResourceType.TOPIC,
        f"{base}.normal",
        incremental_configs=[ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)],
    )
    admin = kafka.admin()
    for done in admin.incremental_alter_configs([change]).values():
        done.result(60)
    eventually(lambda: "WRONG: " in call("topics", **one)[1], what="the change")
    code, out, _ = call("topics", MOCRA_KAFKA_PARTITIONS=5, **one)
    assert code == 1
    assert f"WRONG: topic {base}.normal: cleanup.policy has compact" in out
    assert f"differs: topic {base}.high: it has 2 partitions, MOCRA_KAFKA_PARTITIONS is 5" in out
    command: Any = SimpleNamespace(settings=Settings({**settings, **one}))
    assert _topics(command, argparse.Namespace(crawl=crawl, json=False)) == 1
    assert "WRONG: " in capsys.readouterr().out


def test_without_kafka_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    command: Any = SimpleNamespace(settings=Settings({"MOCRA_BACKEND": "redis://localhost"}))
    assert verb().run(argparse.Namespace(action="topics", crawl="shop:books", dry_run=False), command) == 1
    assert "MOCRA_QUEUE_BACKEND: this crawl has no queue on Kafka" in capsys.readouterr().err
    assert _topics(command, argparse.Namespace(crawl="shop:books", json=False)) == 0
