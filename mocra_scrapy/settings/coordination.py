"""The settings of coordination: heartbeat of workers, times of leader election."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings


@dataclass(frozen=True, slots=True)
class CoordinationOptions:
    """What :mod:`mocra_scrapy.settings.default_settings` documents. Seconds, but for the names of
    roles.
    """

    heartbeat: float
    heartbeat_ttl: float
    leader_roles: Sequence[str]
    leader_lease: float
    leader_renew: float
    leader_deadline: float
    leader_retry: float


def _roles(read: SettingsReader) -> Sequence[str]:
    name = "MOCRA_LEADER_ROLES"
    value = read.value(name)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(role, str) and role for role in value):
        raise ConfigurationError(name, f"{value!r} is not a list of names", "Set, for example, ['exporter']")
    return tuple(value)


def read_coordination(settings: BaseSettings) -> CoordinationOptions:
    """The checked settings.

    Raises:
        ConfigurationError: names the first setting that is wrong, and the fix.
    """
    read = SettingsReader(settings)

    def seconds(name: str, least: float = 0.1) -> float:
        return read.number(name, least, 86_400, "a time in seconds")

    heartbeat, ttl = seconds("MOCRA_HEARTBEAT"), seconds("MOCRA_HEARTBEAT_TTL")
    if ttl <= heartbeat:
        raise ConfigurationError(
            "MOCRA_HEARTBEAT_TTL",
            f"{ttl:g} s are over before the next heartbeat, after {heartbeat:g} s",
            "Set three times MOCRA_HEARTBEAT",
        )
    lease, deadline = seconds("MOCRA_LEADER_LEASE"), seconds("MOCRA_LEADER_DEADLINE")
    renew = seconds("MOCRA_LEADER_RENEW")
    if not renew < deadline < lease:
        raise ConfigurationError(
            "MOCRA_LEADER_DEADLINE",
            f"{deadline:g} s is not between MOCRA_LEADER_RENEW, {renew:g} s, and MOCRA_LEADER_LEASE, {lease:g} s",
            "Belief has to end after a renewal is due and before the lease ends: 15, 10 and 5 s are a good choice",
        )
    return CoordinationOptions(
        heartbeat, ttl, _roles(read), lease, renew, deadline, seconds("MOCRA_LEADER_RETRY", 0.01)
    )
