"""No password of a URL is shown, however it is written, and nothing else is changed."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mocra_scrapy.models.redaction import redact, redact_url, without_user_info

WORD = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(lambda text: "".join(text.split()))
SIGNS = st.text(st.sampled_from("abc123@/:?#&=%.,[]'\"<>"), max_size=12)
PART = WORD | SIGNS
SCHEME = st.sampled_from(["http", "https", "redis", "rediss+sentinel", "unix", "amqp", "postgresql"])
TEXT = st.text(max_size=40) | st.text(st.sampled_from("ab1@/: \n?#=%24053AF"), max_size=40)


def survivors(password: str, masked: str, beside: str) -> list[str]:
    """Parts of *password* that are in *masked*, but not because they stand *beside* it, too."""
    parts = {password[at : at + 3] for at in range(len(password) - 2)}
    return sorted(part for part in parts if part in masked and part not in beside)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:hunter2@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:hunter2@host", "redis://***@host"),
        ("redis://hunter2@host", "redis://***@host"),
        ("https://hunter2@host/p", "https://***@host/p"),
        ("https://hunter2:@host/p", "https://***@host/p"),
        ("http://u:hun@ter2@host", "http://***@host"),
        ("http://u:hun/ter2@host", "http://***@host"),
        ("http://u:hun?ter2#:@host", "http://***@host"),
        ("http://u:1/hunter2@host", "http://***@host"),
        ("http://u:hun%40ter2@host", "http://***@host"),
        ("redis://hun/ter2@host", "redis://***@host"),
        ("redis+sentinel://u:hunter2@h1:1,h2:2/main/0", "redis+sentinel://***@h1:1,h2:2/main/0"),
        ("redis://u:hunter2@[::1]:6379/0", "redis://***@[::1]:6379/0"),
        ("//u:hunter2@host/p", "//***@host/p"),
        ("two: http://a:hunter2@x, and\nredis://b:hunter2@y.", "two: http://***@x, and\nredis://***@y."),
        ("(proxy 'http://u:hunter2@p:80')", "(proxy 'http://***@p:80')"),
        ("https://s/?p=http%3A%2F%2Fu%3Ahunter2%40h", "https://s/?p=http%3A%2F%2F***%40h"),
        ("https://s/?p=http%253a%252f%252fu%253ahunter2%2540h", "https://s/?p=http%253a%252f%252f***%2540h"),
    ],
)
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert "hunter2" not in redact_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "see https://site.test/@name/post and mail me@example.com: thanks",
        "https://site.test?mail=a@b",
        "http://[::1]:8000/a",
        "https://site.test/?next=https%3A%2F%2Fsite.test%2F%40name&mail=a%40b",
        "redis://host/0?client_name=a@b",
        "unix:///run/redis@1.sock",
        "redis+sentinel://h1:26379,h2:26379/main",
    ],
)
def test_what_has_no_user_is_left_alone(text: str) -> None:
    assert redact(text) == text
    assert " " in text or redact_url(text) == text


@settings(max_examples=300)
@given(TEXT, SCHEME, PART, PART, PART, TEXT)
@example("", "http", "a", "0/000@", "h", "")
@example("", "http", "a/b", "hunter2", "h", "")
@example("x//y", "redis", "", "//://@", "h", "@")
def test_no_part_of_a_password_survives(
    before: str, scheme: str, user: str, password: str, host: str, after: str
) -> None:
    masked = redact(f"{before}{scheme}://{user}:{password}@{host}{after}")
    beside = f"{before}{scheme}://{user}:***@{host}{after} {scheme}://***@{host} :***@"
    assert survivors(password, masked, beside) == []


@settings(max_examples=300)
@given(TEXT, SCHEME, WORD, TEXT)
def test_no_part_of_a_password_survives_in_an_encoded_url(before: str, scheme: str, password: str, after: str) -> None:
    secret, rest = quote(quote(password, safe=""), safe=""), quote(f"{scheme}://user:", safe="")
    masked = redact(f"{before} https://s.test/?p={rest}{secret}%40host {after}")
    assert survivors(secret, masked, f"{before} https://s.test/?p={rest}***%40host {after}") == []


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["//", ":", "@", "%2F%2F", "%40", "%3A", "%25", "/", "?", "#", "a", "b=", " "])))
def test_masking_twice_is_masking_once(tokens: list[str]) -> None:
    text = "".join(tokens)
    assert redact(redact(text)) == redact(text)
    assert redact_url(redact_url(text)) == redact_url(text)


@settings(max_examples=300)
@given(st.text() | TEXT)
def test_any_text_may_come(text: str) -> None:
    masked = redact(text)
    assert redact(masked) == masked
    redact_url(text)
    without_user_info(text)
    if "@" not in text and "40" not in text:
        assert masked == text


@pytest.mark.parametrize(
    "piece", ["http://u:p@h ", "http://u:p@h", "//", "@", "://@", "%2F%2F%40", "%25", "?token", "a", "?a=b@c:"]
)
def test_time_grows_with_the_length(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    redact(text)
    redact_url(text)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("user:hunter2@host", "user:***@host"),
        ("hunter2@host", "***@host"),
        ("redis://:h@un ter2@host/1", "redis://:***@host/1"),
        ("redis://host/0?password=hunter2&db=1", "redis://host/0?password=***&db=1"),
        ("redis://:x@host/0?db=1&ssl_PASSWORD=hunter2#x", "redis://:***@host/0?db=1&ssl_PASSWORD=***#x"),
    ],
)
def test_of_a_whole_url_secrets_are_masked_too(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(SCHEME, PART, PART)
def test_no_part_of_a_password_survives_in_a_whole_url(scheme: str, user: str, password: str) -> None:
    assert survivors(password, redact_url(f"{scheme}://{user}:{password}@host"), f"{scheme}://{user}:***@host") == []
    assert without_user_info(f"{scheme}://{user}:{password}@host") == f"{scheme}://host"


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("http://u:p@ss@host:80", "http://host:80"),
        ("http://u:pa/ss@host:80", "http://host:80"),
        ("u:p@host:80", "host:80"),
        ("http://host:80", "http://host:80"),
    ],
)
def test_user_information_can_be_left_out(url: str, clean: str) -> None:
    assert without_user_info(url) == clean
