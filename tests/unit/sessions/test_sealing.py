"""What sessions hold is encrypted where there is a key."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from mocra_scrapy.sessions.sealing import Seal, WrongKey
from tests.unit.sessions.conftest import Stage, sent

OLD, NEW = (base64.urlsafe_b64encode(letter * 32).decode() for letter in (b"a", b"b"))
SHOP = "https://www.shop.example/"


def test_a_key_opens_what_it_sealed_and_nothing_else() -> None:
    old, new, both, none = Seal([b"a" * 32]), Seal([b"b" * 32]), Seal([b"b" * 32, b"a" * 32]), Seal()
    sealed = old.seal("joe", b"s3cret")
    assert b"s3cret" not in sealed
    assert sealed != old.seal("joe", b"s3cret")
    assert old.open("joe", sealed) == both.open("joe", sealed) == b"s3cret"
    assert new.open("joe", both.seal("joe", b"x")) == b"x", "the first one encrypts"
    assert none.seal("joe", b"{}") == both.open("joe", b"{}") == b"{}", "what was stored before there was a key"
    for seal, name, raw in (
        (new, "joe", sealed),
        (none, "joe", sealed),
        (old, "ann", sealed),
        (old, "joe", sealed[:-1]),
        (old, "joe", sealed[:9]),
    ):
        with pytest.raises(WrongKey) as caught:
            seal.open(name, raw)
        assert "s3cret" not in str(caught.value)


async def test_workers_with_the_key_share_and_one_without_closes(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    def site(request: Request) -> Response:
        return Response(request.url, headers={"Set-Cookie": "sid=s3cret; Path=/", "X-Sent": str(sent(request))})

    one = await stage.visitor(site, MOCRA_SECRET_KEY=OLD)
    await one.get(SHOP)
    values = one.sessions.store._values
    assert values is not None
    stored: Any = await values.everything()
    assert list(stored) == ["default@shop.example"]
    assert b"s3cret" not in stored["default@shop.example"].value
    other = await stage.visitor(site, MOCRA_SECRET_KEY=f"{NEW},{OLD}")
    assert (await other.get(SHOP)).headers["X-Sent"] == b"{'sid': 's3cret'}"
    third, closed = await stage.visitor(site), []  # type: Any, list[str]
    third.mocra.worker_state.close = closed.append
    with pytest.raises(IgnoreRequest, match="MOCRA_SECRET_KEY"):
        await third.get(SHOP)
    assert closed == ["mocra_secret_key"]
    assert (await values.everything()) == stored, "it has overwritten nothing"
    assert "s3cret" not in caplog.text


async def test_a_session_that_is_damaged_begins_anew(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    one = await stage.visitor(lambda request: Response(request.url, headers={"Set-Cookie": "sid=1; Path=/"}))
    values = one.sessions.store._values
    assert values is not None
    await values.put("default@shop.example", b"nonsense")
    await one.get(SHOP)
    assert "begins anew" in caplog.text
    assert one.stats.get_value("mocra/sessions/unreadable") == 1
    assert b"sid" in ((await values.get("default@shop.example")).value or b"")
