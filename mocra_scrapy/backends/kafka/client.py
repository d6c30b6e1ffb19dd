"""Clients of Kafka, and what they say of their trouble. All of it blocks: call it from a thread.

librdkafka's answers say little: a wrong password, an unknown host and a broker that is down are all
"timed out". What it found out on the way goes to its log and to a callback; :class:`Ears` keeps that.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mocra_scrapy.backends.kafka.address import OPTIONS, KafkaAddress
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError, MocraError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer

logger = logging.getLogger(__name__)

EXTRA = 'pip install "mocra-scrapy[kafka]"'
#: The oldest client that keeps what is promised. Partitions of groups with the protocol "consumer" stayed with nobody in
#: tests with 2.12 and 2.13, and 2.6 does not know that protocol as brokers have it now.
OLDEST = (2, 14)
CLIENT = "mocra_scrapy"
#: Seconds between two looks whether somebody still waits.
LOOK = 0.1
#: Seconds for an answer; and when no broker can be reached.
PATIENCE, DOWN = 15.0, 1.0

_WHERE = re.compile(r"^(?:\S+/(?:bootstrap|\d+): )+")
#: An answer that did not come in time is not heard when it comes.
_UNHEARD = "Timed out ConsumerGroupHeartbeatRequest in flight"
_AFTER = re.compile(r" \(after \d+ms in state \w+.*\)$")


def need_client(subject: str, what: str) -> None:
    """Raises ConfigurationError: *what*, which setting *subject* asks for, needs the client library,
    which is not installed, or too old.
    """
    try:
        import confluent_kafka
    except ImportError as error:
        raise ConfigurationError(subject, f"{what} needs confluent-kafka", EXTRA) from error
    version = confluent_kafka.libversion()[0]  # of librdkafka; its first two numbers are the same
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigurationError(subject, f"{what} needs confluent-kafka {oldest} or newer, this is {version}", EXTRA)


class Ears:
    """What the clients of one address say of their connections.

    Attributes:
        down: no broker can be reached, as it seems.
        fatal: why the client does nothing any more.
        unheard: its group, by the protocol "consumer", may have told the client something that it did not hear.
    """

    def __init__(self, address: KafkaAddress) -> None:
        self._address = address
        self._refused: ConfigurationError | None = None
        self._trouble = ""
        self.down, self.fatal, self.unheard = False, "", False

    def clear(self) -> None:
        """What was heard is of the past."""
        self._refused, self._trouble, self.down = None, "", False

    @property
    def refused(self) -> ConfigurationError | None:
        """Who is asked does not want us, as things are."""
        return self._refused

    def unavailable(self) -> MocraError:
        """Why nothing is answered."""
        if self._refused is not None:
            return self._refused
        return BackendUnavailable(
            f"no broker of kafka://{self._address.bootstrap} answers: {self._trouble or 'no answer in time'}"
        )

    def config(self) -> dict[str, Any]:
        """For a client that is listened to."""
        # Nothing of librdkafka's goes to standard error: an outage would be a line a second.
        heard = {"error_cb": self.error, "logger": self, "log_level": 6}
        ours = {"client.id": CLIENT, "reconnect.backoff.max.ms": 1000}
        return {**ours, **self._address.options, "bootstrap.servers": self._address.bootstrap, **heard}

    def error(self, error: KafkaError) -> None:
        """What a client says of itself."""
        from confluent_kafka import KafkaError as Codes

        text = shortened(error.str())
        if error.code() == Codes._AUTHENTICATION:
            self._refused = ConfigurationError(
                OPTIONS, text, "Check security.protocol, sasl.mechanism, sasl.username and sasl.password"
            )
        elif error.code() == Codes._SSL:
            self._refused = ConfigurationError(
                OPTIONS, text, "Check security.protocol, ssl.ca.location and the certificates"
            )
        elif error.code() == Codes._ALL_BROKERS_DOWN:
            self.down = True
        elif error.fatal():
            self.fatal = text
        else:
            self._trouble = text

    def log(self, _level: int, form: str, *arguments: object) -> None:
        """librdkafka's log: lines about connections say what errors don't."""
        line = form % arguments if arguments else form
        logger.debug("%s", line)
        self.unheard |= _UNHEARD in line
        found = line.partition("]: ")[2]
        if "Disconnected" in found and "closed by peer" in found:
            self._trouble = (
                f"{shortened(found)}. Maybe it wants another security.protocol in {OPTIONS}, as SASL_SSL or SSL"
            )


def shortened(text: str) -> str:
    """Without which connection it was, and for how long."""
    return _AFTER.sub("", _WHERE.sub("", text)).strip()


def make_producer(address: KafkaAddress, ears: Ears, given: Mapping[str, Any] | None = None) -> Producer:
    """One whose messages are stored by all in-sync replicas, and not twice by what it repeats itself.
    *given*: more options, where the project has none.

    Raises:
        ConfigurationError: librdkafka does not take an option; names it.
    """
    from confluent_kafka import KafkaException, Producer

    promised = {"enable.idempotence": True, "acks": "all"}
    try:
        return Producer({**(given or {}), **ears.config(), **promised})
    except (KafkaException, TypeError, ValueError) as error:
        raise no_option(error) from error


class NoTopic(ConfigurationError):
    """A broker knows of no such topic."""


def meaning(error: KafkaError, topic: str, setting: str, ears: Ears) -> MocraError:
    """Of an answer about *topic*, which *setting* names; not of one message."""
    from confluent_kafka import KafkaError as Codes

    code = error.code()
    if code in (Codes.UNKNOWN_TOPIC_OR_PART, Codes._UNKNOWN_TOPIC):
        return NoTopic(
            setting,
            f"there is no topic {topic!r}",
            "Create it, with the partitions and the replication that you want: kafka-topics.sh --create",
        )
    if code in (Codes.TOPIC_AUTHORIZATION_FAILED, Codes.CLUSTER_AUTHORIZATION_FAILED):
        return not_allowed(topic, setting)
    if code in (Codes.TOPIC_EXCEPTION, Codes.POLICY_VIOLATION):
        return ConfigurationError(setting, f"topic {topic!r}: {shortened(error.str())}", "Name another topic")
    unavailable = ears.unavailable()
    if isinstance(unavailable, ConfigurationError) or code in (Codes._TIMED_OUT, Codes._MSG_TIMED_OUT):
        return unavailable
    return BackendUnavailable(f"topic {topic!r}: {shortened(error.str())}")


def not_allowed(topic: str, setting: str) -> ConfigurationError:
    return ConfigurationError(
        setting, f"this user may not write to topic {topic!r}", "Grant it WRITE and DESCRIBE: kafka-acls.sh --producer"
    )


def no_option(error: Exception) -> ConfigurationError:
    found = error.args[0] if error.args else error
    text = found.str() if hasattr(found, "str") else str(found)
    return ConfigurationError(OPTIONS, shortened(text).rstrip("."), "librdkafka's CONFIGURATION.md has its options")
