from __future__ import annotations

import hashlib
import hmac

import pytest

from mocra_scrapy.events.signature import signed, verify

SECRET, BODY, NOW = "0123456789abcdef", b'{"events":[]}', 1_700_000_000.9


def test_a_signature_is_what_the_docs_say() -> None:
    digest = hmac.new(SECRET.encode(), b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert signed(SECRET, BODY, NOW) == {"Mocra-Timestamp": "1700000000", "Mocra-Signature": f"v1={digest}"}


def test_what_was_signed_passes_for_five_minutes() -> None:
    headers = {name.lower(): value for name, value in signed(SECRET, BODY, NOW).items()}
    assert verify(SECRET, headers, BODY, now=NOW)
    assert verify(SECRET, headers, BODY, now=NOW + 299)
    assert not verify(SECRET, headers, BODY, now=NOW + 302)
    assert not verify(SECRET, headers, BODY, now=NOW - 302)
    assert not verify(SECRET, headers, BODY), "it is of another year"


@pytest.mark.parametrize(
    "change",
    [
        {"Mocra-Timestamp": "1700000001"},
        {"Mocra-Timestamp": ""},
        {"Mocra-Timestamp": "now"},
        {"Mocra-Timestamp": "９"},
        {"Mocra-Timestamp": "9" * 5000},
        {"Mocra-Signature": ""},
        {"Mocra-Signature": "v1=" + "0" * 64},
        {"Mocra-Signature": "ü\ud800"},
    ],
)
def test_what_was_changed_does_not(change: dict[str, str]) -> None:
    assert not verify(SECRET, {**signed(SECRET, BODY, NOW), **change}, BODY, now=NOW)


def test_neither_does_another_body_or_secret() -> None:
    headers = signed(SECRET, BODY, NOW)
    assert not verify(SECRET, headers, BODY + b" ", now=NOW)
    assert not verify(SECRET[::-1], headers, BODY, now=NOW)
    assert not verify(SECRET, {}, BODY, now=NOW)
