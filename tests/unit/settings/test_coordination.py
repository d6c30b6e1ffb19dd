"""The settings of coordination: wrong ones are told by name, with the fix."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.crawler import Crawler
from scrapy.settings import Settings
from scrapy.spiders import Spider

from mocra_scrapy import Addon
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.coordination import read_coordination


def test_defaults_are_accepted() -> None:
    options = read_coordination(Settings())
    assert (options.heartbeat, options.heartbeat_ttl, options.leader_roles) == (10.0, 30.0, ())
    assert (options.leader_lease, options.leader_deadline, options.leader_renew, options.leader_retry) == (15, 10, 5, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_HEARTBEAT", 0),
        ("MOCRA_HEARTBEAT", "often"),
        ("MOCRA_HEARTBEAT_TTL", 10),
        ("MOCRA_HEARTBEAT_TTL", -1),
        ("MOCRA_LEADER_ROLES", {"a": 1}),
        ("MOCRA_LEADER_ROLES", [1]),
        ("MOCRA_LEADER_ROLES", [""]),
        ("MOCRA_LEADER_LEASE", 0),
        ("MOCRA_LEADER_RENEW", "x"),
        ("MOCRA_LEADER_DEADLINE", 15),
        ("MOCRA_LEADER_DEADLINE", 5),
        ("MOCRA_LEADER_RETRY", 0),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_coordination(Settings({name: value}))
    assert raised.value.subject == name
    assert raised.value.fix
    with pytest.raises(ConfigurationError, match=name):
        Addon(Crawler(Spider, Settings())).update_settings(Settings({name: value}))


def test_roles_from_the_command_line() -> None:
    assert read_coordination(Settings({"MOCRA_LEADER_ROLES": "a, b"})).leader_roles == ("a", "b")


def test_the_users_own_extensions_win() -> None:
    theirs = {"mine.Extension": 5, "mocra_scrapy.extensions.workers.WorkerReports": None}
    settings = Settings({"EXTENSIONS": {**theirs, "scrapy.extensions.corestats.CoreStats": 1}}, priority="project")
    del settings["EXTENSIONS"]["mine.Extension"]
    Addon(Crawler(Spider, Settings())).update_settings(settings)
    found = {getattr(key, "__name__", key): value for key, value in settings.getdict("EXTENSIONS").items()}
    assert found["mocra_scrapy.extensions.workers.WorkerReports"] is None
    assert "WorkerReports" not in found
    assert found["WorkerControl"] == found["LeaderElection"] == 0
    assert found["scrapy.extensions.corestats.CoreStats"] == 1
