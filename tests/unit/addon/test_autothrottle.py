"""Which AutoThrottle a project gets."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Spider
from scrapy.extension import ExtensionManager
from scrapy.extensions.throttle import AutoThrottle as Theirs
from scrapy.settings import Settings
from scrapy.utils.misc import load_object

from mocra_scrapy import Addon
from mocra_scrapy.extensions.autothrottle import AutoThrottle as Ours

THEIRS = "scrapy.extensions.throttle.AutoThrottle"
OURS = "mocra_scrapy.extensions.autothrottle.AutoThrottle"


class Mine(Theirs):
    pass


def throttles(**settings: Any) -> list[type]:
    """Those among the extensions of a crawl with the add-on."""
    given = Settings(settings)
    Addon(type("C", (), {"spidercls": Spider})()).update_settings(given)  # type: ignore[arg-type]
    found = map(load_object, ExtensionManager._get_mwlist_from_settings(given))
    return [cls for cls in found if issubclass(cls, (Theirs, Ours))]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, [Ours]),
        ({"AUTOTHROTTLE_ENABLED": False}, [Theirs]),
        ({"MOCRA_THROTTLE_SCOPE": "worker"}, [Theirs]),
        ({"EXTENSIONS": {THEIRS: None}}, []),
        ({"EXTENSIONS": {THEIRS: 5}}, [Ours]),
        ({"EXTENSIONS": {OURS: None}}, []),
        ({"EXTENSIONS": {THEIRS: None, Mine: 5}}, [Mine]),
        ({"EXTENSIONS": {Mine: 5}}, [Mine]),
        ({"EXTENSIONS": {Mine: None}}, [Ours]),
        ({"EXTENSIONS_BASE": {}}, []),
    ],
)
def test_who_throttles(settings: dict[str, Any], found: list[type]) -> None:
    assert throttles(**{"AUTOTHROTTLE_ENABLED": True, **settings}) == found


def test_a_subclass_that_stays_is_told(caplog: pytest.LogCaptureFixture) -> None:
    throttles(AUTOTHROTTLE_ENABLED=True, EXTENSIONS={Mine: 5})
    assert "Mine sets delays in each worker for itself" in caplog.text
