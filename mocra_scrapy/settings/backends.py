"""``MOCRA_BACKEND``, and what says otherwise for one role: ``MOCRA_QUEUE_BACKEND``,
``MOCRA_STATE_BACKEND``, ``MOCRA_EVENTS_BACKEND``.

=========  ==========  =================================================================================
queue      state
=========  ==========  =================================================================================
memory     memory      one process
memory     other       elections, locks and shared values are common, requests are each process's own
redis      the same    the usual way
redis      another     the second one has elections, locks and shared values
redis      memory      refused: workers share requests, and could not elect or lock
kafka      redis       requests are in Kafka, everything that is decided about them in Redis
kafka      memory      refused: each worker would have a filter of its own
any        kafka       refused: Kafka can't compare and set
=========  ==========  =================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import ConfigurationError, NotSupported
from mocra_scrapy.models.backends import BackendChoice, scheme_of
from mocra_scrapy.models.log import LogOptions
from mocra_scrapy.models.redaction import redact_url
from mocra_scrapy.settings.kafka import read_kafka
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

ALL, QUEUE, STATE, EVENTS = "MOCRA_BACKEND", "MOCRA_QUEUE_BACKEND", "MOCRA_STATE_BACKEND", "MOCRA_EVENTS_BACKEND"
SERVER = "Set it to a server: redis://localhost:6379/0"


def read_backends(settings: BaseSettings) -> BackendChoice:
    """The checked settings.

    Raises:
        ConfigurationError: a combination that makes no sense; says why, and what does.
    """
    read = SettingsReader(settings)
    queue_setting, queue = _url(read, QUEUE)
    state_setting, state = _url(read, STATE)
    events = None if read.value(EVENTS) is None else read.text(EVENTS, "a URL")
    _check(queue, state, queue_setting=queue_setting, state_setting=state_setting)
    if events is not None and scheme_of(events) == "memory":
        raise ConfigurationError(
            EVENTS, f"{redact_url(events)!r} keeps no stream that others could read", f"{SERVER}, or kafka://host:9092"
        )
    return BackendChoice(
        queue,
        state,
        events,
        queue_setting,
        state_setting,
        read.text("MOCRA_KEY_PREFIX", "a text"),
        read.mapping("MOCRA_REDIS_OPTIONS"),
        read.mapping("MOCRA_KAFKA_OPTIONS"),
        read_kafka(settings) if scheme_of(queue) == "kafka" else LogOptions(),
    )


def _url(read: SettingsReader, setting: str) -> tuple[str, str]:
    """The setting that says it, and what it says."""
    said_by = ALL if read.value(setting) is None else setting
    return said_by, read.text(said_by, "a URL")


def _check(queue: str, state: str, *, queue_setting: str, state_setting: str) -> None:
    if scheme_of(state) == "kafka":
        raise NotSupported(
            STATE if state_setting == ALL else state_setting,
            "Kafka keeps requests, but no filter, no limits, no leader and no lock: it can't compare and set",
            f"{SERVER}. Requests stay in Kafka",
        )
    if scheme_of(state) != "memory" or scheme_of(queue) == "memory":
        return
    why = (
        "each worker would have a filter, limits and leases of its own"
        if scheme_of(queue) == "kafka"
        else "workers share its requests, and could not elect a leader, lock or share values"
    )
    fix = SERVER if scheme_of(queue) == "kafka" else f"Set it to {redact_url(queue)} as well, or leave out {QUEUE}"
    raise ConfigurationError(
        STATE if state_setting == ALL else state_setting,
        f"{redact_url(state)!r} is of one process, and {queue_setting} is {redact_url(queue)!r}: {why}",
        fix
        if state_setting != ALL or scheme_of(queue) == "kafka"
        else f"Set MOCRA_BACKEND to {redact_url(queue)} instead of {QUEUE}",
    )
