"""Where proxies come from, what is understood, and what nobody gets to see."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.proxies.choices import Choices
from mocra_scrapy.proxies.members import Wish
from mocra_scrapy.proxies.providers import proxy_of
from mocra_scrapy.proxies.proxy import BadProxy, Proxy, parse_proxy
from mocra_scrapy.proxies.supply import Supply
from mocra_scrapy.settings.proxies import read_proxies

SECRET = "pl@nted/secret"
QUOTED = "pl%40nted%2Fsecret"


def supply(value: Any, **more: Any) -> tuple[Supply, Choices]:
    options = read_proxies(Settings({"MOCRA_PROXIES": value, **more}))
    assert options is not None
    choices = Choices()
    crawler = get_crawler(settings_dict=more)
    assert crawler.stats is not None
    return Supply(options, crawler, choices, crawler.stats), choices


async def proxies(value: Any, **more: Any) -> list[Proxy]:
    reader, choices = supply(value, **more)
    assert await reader.read()
    return [member.proxy for member in choices.members.values()]


@pytest.mark.parametrize(
    ("text", "address", "user", "password"),
    [
        ("1.2.3.4:80", "http://1.2.3.4:80", "", ""),
        ("1.2.3.4:80:u:p", "http://1.2.3.4:80", "u", "p"),
        ("1.2.3.4:80:u:p:q", "http://1.2.3.4:80", "u", "p:q"),
        ("[::1]:80", "http://[::1]:80", "", ""),
        ("http://h", "http://h:80", "", ""),
        ("HTTPS://H:81", "https://h:81", "", ""),
        ("socks5://u:p@h", "socks5://h:1080", "u", "p"),
        (f"http://u:{QUOTED}@h:80/", "http://h:80", "u", SECRET),
        ("u:123@h:80", "http://h:80", "u", "123"),
        ("http://token@h:80", "http://h:80", "token", ""),
    ],
)
def test_texts_are_understood(text: str, address: str, user: str, password: str) -> None:
    proxy = parse_proxy(text)
    assert (proxy.address, proxy.username, proxy.password) == (address, user, password)


@pytest.mark.parametrize(
    "text",
    [
        *("", "http://", f"ftp://u:{QUOTED}@h:1", f"http://u:{SECRET}@h:x", "h:0", "h:99999", f"http://u:{SECRET}@"),
        *("<html>", "word", f"{SECRET}", "<b>h:80", f"http://u:{SECRET}@<h>:80"),
    ],
)
def test_what_is_no_proxy_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(BadProxy) as error:
        parse_proxy(text)
    assert "nted" not in str(error.value)


def test_options_hold_for_those_that_say_nothing_else() -> None:
    defaults = {"tags": "A, b", "country": "DE", "weight": "2", "concurrency": 3, "username": "u", "password": "p"}
    proxy = proxy_of("h:1", defaults)
    assert (proxy.tags, proxy.country, proxy.weight, proxy.concurrency) == (frozenset("ab"), "de", 2.0, 3)
    assert (proxy.username, proxy.password) == ("u", "p")
    other = proxy_of({"url": "http://v:w@h:1", "country": "fr", "expires": "2030-01-01T00:00:00Z"}, defaults)
    assert (other.username, other.password, other.country, other.expires) == ("v", "w", "fr", 1893456000.0)
    for bad in (
        {"url": "h:1", "weight": 0},
        {"url": "h:1", "color": 1},
        {"url": "h:1", "concurrency": 1.5},
        {"host": "h"},
        7,
    ):
        with pytest.raises(BadProxy):
            proxy_of(bad, {})  # type: ignore[arg-type]


def test_nobody_reads_credentials_out_of_an_identity_or_a_repr() -> None:
    one, other = parse_proxy(f"http://u:{QUOTED}@h:80"), parse_proxy("http://u:else@h:80")
    assert one.identity(None) != other.identity(None)
    assert one.identity(None) == parse_proxy(f"h:80:u:{SECRET}").identity(None)
    assert one.identity("key") not in (one.identity("other"), one.identity(None))
    assert one.identity("key").startswith("h-80-")
    assert "nted" not in repr(one) + one.identity(None) + one.address
    assert one.url() == f"http://u:{QUOTED}@h:80"


async def test_a_list_and_a_file(tmp_path: Path) -> None:
    path = tmp_path / "proxies.txt"
    path.write_text("\ufeff# mine\n\n1.1.1.1:80:u:p  comment\nsocks4://no.such:1080\nhttp://2.2.2.2:81\n")
    found = await proxies(["http://3.3.3.3:82", {"file": str(path), "tags": ["file"]}])
    assert {one.address for one in found} == {"http://3.3.3.3:82", "http://1.1.1.1:80", "http://2.2.2.2:81"}
    assert {one.address for one in found if "file" in one.tags} == {"http://1.1.1.1:80", "http://2.2.2.2:81"}


@pytest.mark.parametrize("value", [f"htp://u:{QUOTED}@h:1", "file:", [f"{SECRET}@h", {"url": "word"}]])
async def test_a_list_of_the_settings_without_a_proxy_is_a_mistake(value: Any) -> None:
    """It is not asked again: it stays as it is."""
    reader, _ = supply(value)
    with pytest.raises(ConfigurationError, match="MOCRA_PROXIES: there is no proxy in ") as error:
        await reader.read()
    assert "nted" not in str(error.value)


async def test_a_page_in_the_place_of_the_list_leaves_the_last_proxies(tmp_path: Path) -> None:
    path = tmp_path / "proxies.txt"
    path.write_text("1.1.1.1:80\n")
    reader, choices = supply(f"file:{path}")
    assert await reader.read()
    path.write_text("<!DOCTYPE html>\n<title>Your account</title>\nlog in\nhttp://<b>:80\n")
    assert not await reader.read(), "it is asked again soon"
    assert [one.proxy.address for one in choices.members.values()] == ["http://1.1.1.1:80"]
    path.write_text("<!-- new -->\n2.2.2.2:80\n")
    assert await reader.read()
    assert [one.proxy.address for one in choices.members.values()] == ["http://2.2.2.2:80"]
    path.write_text("# none now\n")
    assert await reader.read()
    assert not choices.members


async def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert await proxies("environment") == []
    monkeypatch.setenv("http_proxy", "http://u:p@h:1")
    monkeypatch.setenv("https_proxy", "http://h:2")
    found = await proxies("environment")
    assert {(one.address, one.scheme_only, one.bypassed) for one in found} == {
        ("http://h:1", "http", True),
        ("http://h:2", "https", True),
    }
    monkeypatch.setenv("https_proxy", "http://u:p@h:1")
    assert [one.scheme_only for one in await proxies("environment")] == [""]


class Lists:
    """A provider on loopback."""

    def __init__(self) -> None:
        lists = self
        self.body, self.status, self.asked = b"", 200, list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lists.asked.append(self.headers.get("Authorization", ""))
                self.send_response(lists.status)
                self.send_header("Location", "http://localhost:9/elsewhere")
                self.end_headers()
                self.wfile.write(lists.body)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/list?token={QUOTED}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})


@pytest.fixture
def lists() -> Iterator[Lists]:
    lists = Lists()
    lists.thread.start()
    yield lists
    lists.server.shutdown()
    lists.thread.join()
    lists.server.server_close()


async def test_a_text_api(lists: Lists) -> None:
    lists.body = b"1.1.1.1:80\r\n2.2.2.2:80:u:p\r\n"
    found = await proxies({"text": lists.url, "headers": {"Authorization": "Token t"}})
    assert [one.address for one in found] == ["http://1.1.1.1:80", "http://2.2.2.2:80"]
    await proxies({"text": lists.url.replace("//", f"//u:{QUOTED}@")})
    basic = base64.b64encode(f"u:{SECRET}".encode()).decode()
    assert lists.asked == ["Token t", f"Basic {basic}"]


async def test_a_json_api(lists: Lists) -> None:
    items = [
        {"ip": "1.1.1.1", "ports": {"http": 80}, "auth": ["u", "p"], "geo": {"cc": "DE"}},
        {"ip": "2.2.2.2", "ports": {"http": 81}, "geo": {}},
    ]
    lists.body = json.dumps({"data": {"list": items}}).encode()
    mapping = {"host": "ip", "port": "ports.http", "username": "auth.0", "password": "auth.1", "country": "geo.cc"}
    one, two = await proxies({"json": lists.url, "items": "data.list", "mapping": mapping})
    assert (one.address, one.username, one.password, one.country) == ("http://1.1.1.1:80", "u", "p", "de")
    assert (two.address, two.username, two.country) == ("http://2.2.2.2:81", "", "")
    lists.body = b'["3.3.3.3:80", {"url": "http://4.4.4.4:80", "weight": 2}]'
    assert [p.weight for p in await proxies({"json": lists.url})] == [1.0, 2.0]


async def test_a_gateway() -> None:
    source = f"http://me-cc-{{country}}-sid-{{session}}-t-{{minutes}}:{QUOTED}@gate:7000"
    (one,) = await proxies({"gateway": source, "minutes": 30})
    assert (one.address, one.password, one.session) == (
        "http://gate:7000",
        SECRET,
        "me-cc-{country}-sid-{session}-t-30",
    )
    many = await proxies({"gateway": source, "sessions": 3})
    assert len({member.session for member in many}) == 3
    for bad in (
        {"gateway": "http://{who}:p@h:1"},
        {"gateway": "http://u:p@h:1", "sessions": 2},
        {"gateway": "http://u:p@h:x"},
    ):
        with pytest.raises(ConfigurationError):
            supply(bad)


class Own:
    """A provider of the project's own."""

    def __init__(self, region: str) -> None:
        self.region = region

    async def proxies(self) -> list[Any]:
        return [{"url": "http://h:1", "tags": [self.region]}, Proxy("http://h:2")]


async def test_a_class_of_the_projects_own() -> None:
    found = await proxies({"class": Own, "options": {"region": "eu"}})
    assert [(one.address, one.tags) for one in found] == [("http://h:1", {"eu"}), ("http://h:2", frozenset())]
    with pytest.raises(ConfigurationError, match="async def proxies"):
        supply({"class": "builtins.dict"})
    with pytest.raises(ConfigurationError, match="can't be loaded"):
        supply({"class": "no.such.thing"})


async def test_what_a_provider_gave_stays_while_it_is_away(lists: Lists, caplog: pytest.LogCaptureFixture) -> None:
    lists.body = b"1.1.1.1:80:u:pl@nted\nrubbish:::\n"
    reader, choices = supply({"text": lists.url})
    assert await reader.read()
    (member,) = choices.members.values()
    for status in (500, 302):
        lists.status = status
        assert not await reader.read()
        assert list(choices.members.values()) == [member]
    lists.status, lists.body = 200, b"2.2.2.2:80"
    assert await reader.read()
    assert member.is_gone
    assert [one.proxy.address for one in choices.members.values()] == ["http://2.2.2.2:80"]
    assert "its last 1 proxy stays" in caplog.text
    assert "nted" not in caplog.text


async def test_socks_needs_a_handler_that_knows_it(caplog: pytest.LogCaptureFixture) -> None:
    reader, _ = supply("socks5://u:p@h:1")
    with pytest.raises(ConfigurationError, match="DOWNLOAD_HANDLERS"):
        await reader.read()
    assert [one.scheme for one in await proxies(["socks5://h:1", "http://h:2"])] == ["http"]
    assert "HttpxDownloadHandler" in caplog.text
    handlers = {
        "http": "tests.unit.proxies.test_providers.Handler",
        "https": "tests.unit.proxies.test_providers.Handler",
    }
    assert [one.scheme for one in await proxies("socks5://h:1", DOWNLOAD_HANDLERS=handlers)] == ["socks5"]


class Handler:
    """Of another library."""


async def test_proxies_that_cant_be_told_apart_are_named(caplog: pytest.LogCaptureFixture) -> None:
    many = [f"http://user{n}:{QUOTED}{n}@h:1" for n in range(9000)]
    found = await proxies(many)
    assert len(found) < 9000
    assert "MOCRA_SECRET_KEY" in caplog.text
    assert "nted" not in caplog.text
    assert len(await proxies(many, MOCRA_SECRET_KEY="QUJD" * 10 + "QUI=")) == 9000


async def test_a_proxy_expires() -> None:
    reader, choices = supply([{"url": "http://h:1", "expires": time.time() - 1}, "http://h:2"])
    await reader.read()
    assert {choices.choose("s", Wish()).proxy.address for _ in range(50)} == {"http://h:2"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "more",
    [
        {"MOCRA_PROXIES": 7},
        {"MOCRA_PROXIES": [7]},
        {"MOCRA_PROXIES": "[not json"},
        {"MOCRA_PROXIES": {"text": ""}},
        {"MOCRA_PROXIES": {"text": "http://h", "json": "http://h"}},
        {"MOCRA_PROXIES": {"text": "http://h", "color": "red"}},
        {"MOCRA_PROXY_ON_EMPTY": "maybe"},
        {"MOCRA_PROXY_BAN_STATUSES": "many"},
        {"MOCRA_PROXY_BAN_STATUSES": [42]},
        {"MOCRA_PROXY_BAN_BODIES": ["("]},
        {"MOCRA_PROXY_FAILURES": 0},
        {"MOCRA_PROXY_COOL_DOWN_MAX": 1},
    ],
)
def test_wrong_settings_are_named(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="MOCRA_PROX"):
        read_proxies(Settings({"MOCRA_PROXIES": ["h:1"], **more}))


def test_without_a_provider_there_is_no_pool() -> None:
    for value in (None, "", []):
        assert read_proxies(Settings({"MOCRA_PROXIES": value})) is None
