"""A producer, the thread that serves it, and another producer when it breaks down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from mocra_scrapy._tasks import in_a_thread
from mocra_scrapy.backends.kafka.address import KafkaAddress
from mocra_scrapy.backends.kafka.client import LOOK, Ears, make_producer

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

logger = logging.getLogger(__name__)

#: What stands for a message, its error, its offset.
Report = tuple[object, "KafkaError | None", "int | None"]

#: Of the client, where the project says nothing else. Messages wait as long as brokers are away (0: no
#: time limit): nothing is given up, and what waits is bounded by bytes.
DEFAULTS: dict[str, Any] = {"message.timeout.ms": 0, "linger.ms": 1, "queue.buffering.max.kbytes": 65_536}
#: Bytes of a message that librdkafka can be told of at most.
MOST = 1_000_000_000


class ProducerListener(NamedTuple):
    """Who is told, in the event loop's thread.

    Attributes:
        reported: of what became of messages, in order.
        remade: that there is another producer, and why.
    """

    reported: Callable[[Iterable[Report]], None]
    remade: Callable[[str], None]


class ProducerThread:
    """Idempotent. When librdkafka says that it sends nothing any more, which an idempotent producer may,
    another one takes its place, and who uses it is told to send again what was not reported.

    Args:
        room: bytes of a message that the topics take.

    Attributes:
        round: which producer it is, counted from 1.
    """

    def __init__(
        self,
        address: KafkaAddress,
        ears: Ears,
        room: int,
        loop: asyncio.AbstractEventLoop,
        listener: ProducerListener,
    ) -> None:
        self._address, self._ears, self._room, self._loop = address, ears, min(room, MOST), loop
        self._listener = listener
        self._producer: Producer | None = None
        self._reports: deque[Report] = deque()
        self._called = False
        self._broken: str | None = None
        self._stop = threading.Event()
        self._left = 0.0
        self._thread = threading.Thread(target=self._run, name="mocra kafka producer", daemon=True)
        self.round = 1

    def start(self) -> None:
        """Raises ConfigurationError: librdkafka does not take an option."""
        self._producer = self._made()
        self._thread.start()

    def produce(self, topic: str, partition: int, message: dict[str, Any], token: object) -> None:
        """Into its queue. Does not block.

        Raises:
            BufferError: it is full, or another producer is being made.
            KafkaException: it will be refused.
        """
        from confluent_kafka import KafkaException

        producer = self._producer
        if producer is None:  # the next one is being made
            raise BufferError
        try:
            producer.produce(
                topic,
                partition=partition,
                on_delivery=lambda error, sent: self._report(token, error, sent),
                **message,
            )
        except KafkaException as error:
            if not error.args[0].fatal():
                raise
            self._broken = error.args[0].str()
            raise BufferError from error

    async def stop(self, timeout: float) -> None:
        """What is on its way has *timeout* seconds; then it is dropped."""
        self._left = timeout
        self._stop.set()
        await in_a_thread(lambda: self._thread.join(timeout + 5), "mocra kafka writer")

    # ------------------------------------------------------------------ in its thread

    def _run(self) -> None:
        while not self._stop.is_set():
            producer = self._producer
            if producer is None:
                self._remake()
                continue
            producer.poll(LOOK)
            if self._broken is not None or self._ears.fatal:
                self._producer = None
                self._drain(producer, 1.0)
        if self._producer is not None:
            self._drain(self._producer, self._left)

    def _drain(self, producer: Producer, seconds: float) -> None:
        """All that it can still say."""
        producer.flush(seconds)
        producer.purge()
        producer.flush(1.0)

    def _remake(self) -> None:
        why, self._broken = self._broken or self._ears.fatal, None
        try:
            producer = self._made()
        except Exception:
            logger.exception("Kafka's producer could not be made anew")
            self._broken = why
            self._stop.wait(1.0)
            return

        def take_over() -> None:
            # In the loop's thread, behind the last reports: nobody writes to a producer of another round.
            self.round += 1
            self._producer = producer
            self._listener.remade(why)

        ready = threading.Event()
        self._call(take_over, ready.set)
        while not ready.wait(LOOK) and not self._stop.is_set():
            pass

    def _made(self) -> Producer:
        self._ears.fatal = ""
        return make_producer(self._address, self._ears, {**DEFAULTS, "message.max.bytes": max(1000, self._room)})

    def _report(self, token: object, error: KafkaError | None, sent: Message | None) -> None:
        if error is not None and error.fatal():
            self._broken = error.str()
        self._reports.append((token, error, None if sent is None else sent.offset()))
        if not self._called:
            self._called = True
            self._call(self._deliver)

    def _deliver(self) -> None:
        self._called = False
        reports = []
        with contextlib.suppress(IndexError):
            while True:
                reports.append(self._reports.popleft())
        self._listener.reported(reports)

    def _call(self, *functions: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            for function in functions:
                self._loop.call_soon_threadsafe(function)
