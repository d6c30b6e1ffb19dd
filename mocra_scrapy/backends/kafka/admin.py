"""Questions to brokers that are no reading and no writing. All of it blocks: call it from a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, TypeVar

from mocra_scrapy.backends.kafka.address import KafkaAddress
from mocra_scrapy.backends.kafka.client import DOWN, LOOK, PATIENCE, Ears, meaning, no_option, not_allowed
from mocra_scrapy.exceptions import BackendUnavailable

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

Key = TypeVar("Key", bound=Hashable)
#: Seconds for the attempts of one question; :data:`PATIENCE` together.
ATTEMPTS = (2.0, 4.0, 9.0)
#: Clients with what they still have to answer, though nobody waits for it. Answers come in a client's own thread, and
#: where that one collects garbage which the client is part of (as of a failure's traceback), librdkafka (2.16) ends the
#: process.
_left: list[tuple[AdminClient, list[Future[Any]]]] = []


class Admin:
    """One client, made when it is first used; several threads may ask.

    Attributes:
        ears: what its connections say.
    """

    def __init__(self, address: KafkaAddress, ears: Ears | None = None) -> None:
        self.ears = Ears(address) if ears is None else ears
        self._client: AdminClient | None = None
        self._making = threading.Lock()

    def ask(
        self, question: Callable[[AdminClient], Mapping[Key, Any]], given_up: Callable[[], bool] = lambda: False
    ) -> dict[Key, Any]:
        """The finished futures of *question*, which may have failed each for itself. *given_up*: nobody
        waits any longer. *question* may come to brokers more than once.

        A client (librdkafka 2.16) goes on asking a broker that died, for as long as 32 s where another one
        had been elected in 5; a new one asks for who is there. So each further attempt is a new client's.

        Raises:
            BackendUnavailable: no broker answers.
            ConfigurationError: the password is wrong; librdkafka does not take an option.
        """
        for patience in ATTEMPTS[:-1]:
            try:
                return self.ask_once(question, given_up, patience)
            except BackendUnavailable:
                if self.ears.down or given_up():
                    raise
            with self._making:
                self._client = None
        return self.ask_once(question, given_up, ATTEMPTS[-1])

    def ask_once(
        self,
        question: Callable[[AdminClient], Mapping[Key, Any]],
        given_up: Callable[[], bool] = lambda: False,
        patience: float = PATIENCE,
    ) -> dict[Key, Any]:
        """As :meth:`ask`, of what changes something and is not said twice."""
        client = self._ready()
        asked, began = dict(question(client)), time.monotonic()
        while wait(asked.values(), LOOK).not_done:
            client.poll(0)  # what its connections say; answers come in a thread of its own
            waited = time.monotonic() - began
            if self.ears.refused is not None or given_up() or waited > patience or (self.ears.down and waited > DOWN):
                _left.append((client, list(asked.values())))
                raise self.ears.unavailable()
        return asked

    def _ready(self) -> AdminClient:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        for one in list(_left):
            if all(answer.done() for answer in one[1]):
                with contextlib.suppress(ValueError):  # another thread did
                    _left.remove(one)
        with self._making:
            self.ears.clear()
            if self._client is None:
                try:
                    self._client = AdminClient(self.ears.config())
                except (KafkaException, TypeError, ValueError) as error:
                    raise no_option(error) from error
            return self._client


def check_topic(address: KafkaAddress, ears: Ears, topic: str, setting: str, stopped: Callable[[], bool]) -> int:
    """How many partitions *topic* has, which may be written. Nobody creates it by asking.

    Args:
        setting: that names the topic.
        stopped: whether nobody waits for it any longer.

    Raises:
        ConfigurationError: there is no such topic, it may not be written, the password is wrong.
        BackendUnavailable: no broker answers.
    """
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]

    asked = Admin(address, ears).ask(
        lambda admin: admin.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=PATIENCE
        ),
        stopped,
    )
    try:
        found = asked[topic].result()
    except KafkaException as error:
        raise meaning(error.args[0], topic, setting, ears) from error
    allowed = found.authorized_operations
    if allowed is not None and AclOperation.WRITE not in allowed:
        raise not_allowed(topic, setting)
    return len(found.partitions)
