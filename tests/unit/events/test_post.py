"""The webhook's client against a real server of this process."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.events.envelope import Record
from mocra_scrapy.events.post import HEAD, NotNow, Poster, addresses_of
from mocra_scrapy.events.records import BreakerClosed
from mocra_scrapy.events.signature import verify
from mocra_scrapy.events.sink import Refused
from mocra_scrapy.events.sinks.webhook import WebhookSink
from mocra_scrapy.settings.events import SinkOptions
from tests.services.listening import stop_listening

from .sinks import SOURCE

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Server:
    """Answers each post as it is told.

    Attributes:
        posts: first line, headers in small letters and body of each.
        answer: sent to each; empty: it hangs up.
    """

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.answer = OK
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.posts.append((first, headers, body))
            writer.write(self.answer)
            await writer.drain()
        writer.close()

    def poster(self, scheme: str = "http", host: str = "127.0.0.1", **more: Any) -> Poster:
        given: dict[str, Any] = {"private": True, "headers": {}, **more}
        return Poster(f"{scheme}://{host}:{self.port}/in?x=1", **given)


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        await stop_listening(listening)
        await listening.wait_closed()


def leads_to(*addresses: str) -> Any:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


async def test_what_is_posted() -> None:
    async with serving() as server:
        await server.poster(headers={"Authorization": "Bearer t"}).post(b"{}", {"Mocra-Delivery": "1"})
    [(first, headers, body)] = server.posts
    assert first == "POST /in?x=1 HTTP/1.1"
    assert body == b"{}"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["content-type"] == "application/json"
    assert (headers["authorization"], headers["mocra-delivery"]) == ("Bearer t", "1")


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None, ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, None, ""),
        (b"HTTP/1.0 200\r\n\r\n", None, ""),
        (b"HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\n", NotNow, "it answers 503"),
        (b"HTTP/1.1 429 No\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n", NotNow, "it answers 429"),
        (b"HTTP/1.1 404 No\r\n\r\n", Refused, "answers 404"),
        (
            b"HTTP/1.1 302 No\r\nLocation: https://x/?token=hunter2\r\n\r\n",
            Refused,
            "redirects to https://x/?token=***",
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ValueError, "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3 * HEAD + b"\r\n\r\n", ValueError, "longer than"),
        (b"HTTP/1.1 200 OK\r\nX:", ConnectionError, "hung up"),
        (b"", ConnectionError, "hung up"),
    ],
)
async def test_what_an_answer_means(answer: bytes, error: type[Exception] | None, told: str) -> None:
    async with serving() as server:
        server.answer = answer
        if error is None:
            await server.poster().post(b"{}", {})
            return
        with pytest.raises(error, match=re.escape(told)) as raised:
            await server.poster().post(b"{}", {})
    assert len(server.posts) == 1, "a redirect is not followed"
    if isinstance(raised.value, NotNow):
        assert raised.value.after == (7.0 if b": 7" in answer else 0.0)


async def test_a_name_that_leads_into_a_private_network_is_refused() -> None:
    async with serving() as server:
        for places in (["127.0.0.1"], ["::ffff:127.0.0.1", "10.0.0.1"], ["not-an-address"]):
            poster = server.poster(host="hooks.test", private=False, resolve=leads_to(*places))
            with pytest.raises(Refused, match=r'leads into a private network.*Set "private": True'):
                await poster.post(b"{}", {})
        with pytest.raises(Refused, match="leads nowhere"):
            await server.poster(host="hooks.test", resolve=leads_to()).post(b"{}", {})
        await server.poster(host="hooks.test", resolve=leads_to("127.0.0.1")).post(b"{}", {})
    assert [headers["host"] for _, headers, _ in server.posts] == [f"hooks.test:{server.port}"]


async def test_only_addresses_that_were_looked_at_are_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name that leads to both, and to the other one a moment later, the public one is taken."""
    asked: list[Any] = []

    async def refuse(*arguments: Any, **more: Any) -> Any:
        asked.append(arguments)
        raise ConnectionRefusedError("no")

    monkeypatch.setattr(asyncio, "open_connection", refuse)
    poster = Poster(
        "http://hooks.test/", private=False, headers={}, resolve=leads_to("127.0.0.1", "93.184.216.34", "10.0.0.1")
    )
    with pytest.raises(ConnectionRefusedError):
        await poster.post(b"{}", {})
    assert asked == [("93.184.216.34", 80)]


async def test_names_are_looked_up_by_the_system() -> None:
    assert "127.0.0.1" in await addresses_of("localhost", 80)
    with pytest.raises(OSError):
        await addresses_of("127.0.0.1", -1)


async def test_batches_are_signed_and_a_repetition_is_recognised() -> None:
    async with serving() as server:
        options = SinkOptions("webhook", "webhook", url="http://h/", secret="0123456789abcdef")
        sink = WebhookSink(options, server.poster())
        batches = [
            [Record(BreakerClosed("ü"), SOURCE, n, 0.0), Record(BreakerClosed("b"), SOURCE, n + 1, 0.0)] for n in (1, 3)
        ]
        server.answer = b"HTTP/1.1 500 No\r\n\r\n"
        with pytest.raises(NotNow):
            await sink.send(batches[0])
        server.answer = OK
        for batch in batches:
            await sink.send(batch)
        await sink.close()
    for _, headers, body in server.posts:
        assert verify("0123456789abcdef", headers, body)
        told = json.loads(body)
        assert told["schema"] == 1
        assert [event["data"]["slot"] for event in told["events"]] == ["ü", "b"]
    first, again, second = (headers["mocra-delivery"] for _, headers, _ in server.posts)
    assert first == again != second


def certificate(folder: Path) -> Path:
    """Key and certificate of ``hooks.test``, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("hooks.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.9"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    path = folder / "hooks.pem"
    path.write_bytes(pem)
    return path


async def test_a_certificate_is_of_the_name_not_of_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with serving(context) as server:
        asyncio.get_running_loop().set_exception_handler(
            lambda *_: None
        )  # the server's own view of a refused handshake
        with pytest.raises(ssl.SSLCertVerificationError):
            await server.poster("https", "hooks.test", resolve=leads_to("127.0.0.1")).post(b"{}", {})
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        with pytest.raises(ssl.SSLCertVerificationError):
            await server.poster("https", "other.test", resolve=leads_to("127.0.0.1")).post(b"{}", {})
        await server.poster("https", "hooks.test", resolve=leads_to("127.0.0.1")).post(b"{}", {})
    assert len(server.posts) == 1
