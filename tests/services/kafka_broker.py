"""A real Apache Kafka, one node that is broker and controller (KRaft)."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.services.processes import eventually
from tests.services.redis_server import certificates
from tests.services.shared import SharedServer

JARS = Path(__file__).parents[2] / ".kafka"
HOW = "Java 17 or newer, then tools/setup.sh test, which needs mvn"
JVM = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

#: ``\\`` joins lines, as in any Java properties.
CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},SASL_SSL://127.0.0.1:{tls},\
CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,\
SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={folder}/node.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.crt
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_alice="{password}" user_bob="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=500
log.cleaner.backoff.ms=500
log.retention.check.interval.ms=1000
log.message.timestamp.after.max.ms=9223372036854775807
log.cleaner.dedupe.buffer.size=8388608
broker.heartbeat.interval.ms=500
"""


def java() -> str:
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def in_java() -> list[str]:
    """A command line, but for what is to run."""
    return [java(), *JVM, "-cp", f"{JARS}/*"]


def format_storage(configuration: Path, *more: str) -> None:
    """What is done once for each node."""
    tool = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(configuration), *more]
    subprocess.run([*in_java(), *tool], cwd=configuration.parent, check=True, capture_output=True)


def installed() -> bool:
    """Jars, and a Java; an old one says so itself when it starts."""
    return (JARS / ".stamp").is_file() and shutil.which(java()) is not None


class KafkaBroker(SharedServer):
    """Without a password at :attr:`bootstrap`, where everybody may do everything; with one at
    :attr:`secure`, for ``alice`` and ``bob``, who may do what no ACL forbids; for the same over TLS, with
    SCRAM, at :attr:`tls`.
    """

    wanted = 4
    PASSWORD = "alice-secret"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def secure(self) -> str:
        return f"127.0.0.1:{self.ports[2]}"

    @property
    def tls(self) -> str:
        return f"127.0.0.1:{self.ports[3]}"

    def login(self, user: str, password: str = PASSWORD) -> dict[str, str]:
        """Options of a client that comes to :attr:`tls`."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": user,
            "sasl.password": password,
            "ssl.ca.location": str(self.folder / "ca.crt"),
        }

    def admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap})

    def topic(self, partitions: int = 1, **config: str) -> str:
        """The name of a new topic. *config*: with ``_`` for each dot."""
        from confluent_kafka.admin import NewTopic

        name = f"t{uuid4().hex}"
        new = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        admin = self.admin()  # what it was asked for ends with it
        admin.create_topics([new])[name].result(60)
        eventually(lambda: self._has(admin, name), what=f"topic {name}")  # the broker hears of it a moment later
        return name

    @staticmethod
    def _has(admin: Any, name: str) -> bool:
        from confluent_kafka import KafkaException, TopicCollection

        with contextlib.suppress(KafkaException):
            found = admin.describe_topics(TopicCollection([name]))[name].result(60)
            return all(partition.leader is not None for partition in found.partitions)
        return False

    def messages(self, topic: str) -> list[Any]:
        """All that are in *topic* now, of one partition after the other."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "nobody", "enable.auto.commit": False})
        found: list[Any] = []
        try:
            for partition in consumer.list_topics(topic, 60).topics[topic].partitions:
                where = TopicPartition(topic, partition, 0)
                _, end = consumer.get_watermark_offsets(where, 60)
                consumer.assign([where])
                at = 0
                while at < end:
                    for message in consumer.consume(500, 0.1):
                        assert message.error() is None, message.error()
                        found.append(message)
                        at = message.offset() + 1
        finally:
            consumer.close()
        return found

    # ------------------------------------------------------------------ what is started

    def prepare(self) -> None:
        plain, controller, sasl, tls = self.ports
        text = CONFIGURATION.format(
            plain=plain,
            controller=controller,
            sasl=sasl,
            tls=tls,
            data=self.folder / "data",
            folder=self.folder,
            password=self.PASSWORD,
        )
        certificates(self.folder)
        (self.folder / "node.pem").write_text(
            (self.folder / "srv.key").read_text() + (self.folder / "srv.crt").read_text()
        )
        configuration = self.folder / "server.properties"
        configuration.write_text(text)
        scram = [f"SCRAM-SHA-256=[name={user},password={self.PASSWORD}]" for user in ("alice", "bob")]
        format_storage(configuration, *(word for one in scram for word in ("-S", one)))

    def command(self) -> Sequence[str]:
        return [*in_java(), "kafka.Kafka", str(self.folder / "server.properties")]

    def answers(self) -> bool:
        """It says so once for each start, but a port answers earlier than it serves."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[0]), 5):
            return "Kafka Server started" in self.log()
        return False
