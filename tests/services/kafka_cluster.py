"""Three real Kafka nodes, each broker and controller: what one of them acknowledged two have. To crash
and to start again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from pathlib import Path
from typing import Any

from tests.services.kafka_broker import format_storage, in_java
from tests.services.processes import Server, eventually, free_port

NODES = 3
CONFIGURATION = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=3
min.insync.replicas=2
offsets.topic.num.partitions=4
offsets.topic.replication.factor=3
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms={session}
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
log.message.timestamp.after.max.ms=9223372036854775807
"""


class KafkaCluster:
    """Args:
    session: seconds without a sign of life after which a member of a group is dead, by KIP-848.
    """

    def __init__(self, folder: Path, session: float = 6.0) -> None:
        ports = [(free_port(), free_port()) for _ in range(NODES)]
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port, _ in ports)
        voters = ",".join(f"{node}@127.0.0.1:{controller}" for node, (_, controller) in enumerate(ports, 1))
        self.nodes: dict[int, Server] = {}
        for node, (port, controller) in enumerate(ports, 1):
            home = folder / f"node{node}"
            home.mkdir(parents=True)
            configuration = home / "server.properties"
            configuration.write_text(
                CONFIGURATION.format(
                    node=node,
                    voters=voters,
                    port=port,
                    controller=controller,
                    data=home / "data",
                    session=int(session * 1000),
                )
            )
            command = [*in_java(), "kafka.Kafka", str(configuration)]
            self.nodes[node] = Server(command, home, lambda: True)  # one alone does not serve

    def start(self) -> None:
        for server in self.nodes.values():
            format_storage(server.folder / "server.properties")
        for server in self.nodes.values():
            server.start()
        for node in self.nodes:
            self._wait(node, 0)
        eventually(lambda: len(self.alive()) == NODES, 600, "three brokers")

    def stop(self) -> None:
        for server in self.nodes.values():
            server.kill()

    def kill(self, node: int) -> None:
        """As in a power cut."""
        self.nodes[node].kill()

    def start_again(self, node: int) -> None:
        """Returns when it serves; others have more than it has until it has caught up."""
        log = self.nodes[node].folder / "log"
        before = log.stat().st_size
        self.nodes[node].start()
        self._wait(node, before)

    def _wait(self, node: int, before: int) -> None:
        log = self.nodes[node].folder / "log"

        def serves() -> bool:
            with contextlib.suppress(OSError):
                return b"Kafka Server started" in log.read_bytes()[before:]
            return False

        eventually(serves, 600, f"node {node} serving")

    def admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap})

    def alive(self) -> list[int]:
        """Brokers that the others know."""
        admin = self.admin()
        return sorted(node.id for node in admin.describe_cluster(request_timeout=30).result(60).nodes)

    def coordinator(self, group: str) -> int:
        """The node that has *group*. The one before may just have been killed: then a client goes on asking it, and
        the next one asks who has the group now.
        """
        from confluent_kafka import KafkaException

        found: list[int] = []

        def is_known() -> bool:
            admin = self.admin()  # what it was asked for ends with it
            try:
                described = admin.describe_consumer_groups([group], request_timeout=5)[group].result(10)
            except (KafkaException, concurrent.futures.TimeoutError):
                return False
            found.append(int(described.coordinator.id))
            return True

        eventually(is_known, what=f"the coordinator of {group}")
        return found[0]

    def leaders(self, topic: str) -> list[int]:
        """The node that leads each partition of *topic*."""
        from confluent_kafka import TopicCollection

        admin = self.admin()
        answer = admin.describe_topics(TopicCollection([topic]), request_timeout=30)[topic].result(60)
        return [int(partition.leader.id) for partition in answer.partitions]

    def in_sync(self, topic: str) -> bool:
        """Whether all copies of *topic* are."""
        from confluent_kafka import TopicCollection

        admin = self.admin()
        answer = admin.describe_topics(TopicCollection([topic]), request_timeout=30)[topic].result(60)
        return all(len(partition.isr) == len(partition.replicas) for partition in answer.partitions)
