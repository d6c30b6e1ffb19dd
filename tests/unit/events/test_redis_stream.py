"""The sink that writes to a stream of Redis, before it has a server."""

from __future__ import annotations

import pytest

from mocra_scrapy.events.sinks.redis_stream import RedisStreamSink
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.events import SinkOptions

WRONG = "redis://u:pw@127.0.0.1:99999/0"


@pytest.mark.parametrize(
    ("own", "backend", "setting"),
    [(WRONG, "memory://", "MOCRA_EVENTS['redis:a']['url']"), (None, WRONG, "MOCRA_BACKEND")],
)
def test_a_url_that_is_wrong_is_told_of_the_setting_that_has_it(own: str | None, backend: str, setting: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisStreamSink(SinkOptions("redis:a", "redis", url=own), backend=backend, prefix="mocra", redis_options={})
    assert caught.value.subject == setting
    assert "99999" in caught.value.problem
    assert "pw" not in str(caught.value)
