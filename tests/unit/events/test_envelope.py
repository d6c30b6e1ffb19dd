from __future__ import annotations

import json

import pytest

from mocra_scrapy.events.envelope import TEXT, Record, Source, redact_text, stamp
from mocra_scrapy.events.records import Event, ItemFailed, RequestDead, RequestFetched

SECRETS = "https://user:hunter2@a.test/p?api_key=hunter2&page=2"


def told(event: Event) -> dict[str, object]:
    return dict(json.loads(Record(event, Source("w"), 1, 0.0).encoded)["data"])


def test_no_secret_of_a_url_is_told() -> None:
    dead = RequestDead(
        SECRETS, "a.test", "retry", "timeout", False, f"TimeoutError: {SECRETS}\ngave up {SECRETS}, twice"
    )
    fetched = RequestFetched(SECRETS, "GET", 200, "a.test", 5, 0.1, 0, 1)
    for event in (dead, fetched, ItemFailed(SECRETS, "dict", f"can't post to <{SECRETS}>")):
        data = told(event)
        assert "hunter2" not in json.dumps(data)
        assert str(data["url"]).endswith("@a.test/p?api_key=***&page=2")
    assert told(dead)["error"].count("page=2") == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["", "nothing", "a@b and 40 % of http://a.test/?page=2", "ünïcode \ud800"])
def test_other_texts_stay(text: str) -> None:
    assert redact_text(text) == text
    assert told(ItemFailed("", "dict", text))["error"] == text.encode("utf-8", "replace").decode()


def test_texts_are_bounded() -> None:
    assert len(str(told(ItemFailed("http://a.test/" + "x" * 9000, "dict", "y" * 9000))["url"])) == TEXT
    assert stamp(1_700_000_000.25) == "2023-11-14T22:13:20.250000Z"
