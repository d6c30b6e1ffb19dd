"""Mistakes in MOCRA_BACKEND that no waiting mends are told at once, each in its own words; what may
pass is waited for, and that is told, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.backends.redis.connection import diagnosis
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from tests.services.listening import stop_listening
from tests.services.processes import free_port
from tests.services.redis_server import RedisServer, TlsRedis

LONG = 600.0  # s that a server would be waited for


async def refusal(url: str, **options: object) -> str:
    """What is said, before anything was waited for."""
    backend = open_backend(url, options=options)
    try:
        with pytest.raises(ConfigurationError) as told:
            await asyncio.wait_for(backend.open(LONG), LONG / 2)
    finally:
        await backend.close()
    assert str(told.value).startswith("MOCRA_BACKEND: ")
    return str(told.value)


@contextlib.asynccontextmanager
async def listening(answer: bytes | None) -> AsyncIterator[int]:
    """The port of a server that says *answer* to whatever it is told; ``None``: it hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if answer is not None and await reader.read(100):
                writer.write(answer)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await stop_listening(server)
        await server.wait_closed()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70])
async def test_an_unknown_host(host: str) -> None:
    try:
        socket.getaddrinfo("no-such-host.invalid", 1)
    except socket.gaierror as error:
        if error.errno not in diagnosis.NO_SUCH_HOST and "invalid" in host:
            pytest.skip("this machine can't say now that a name does not exist")
    assert f"there is no host '{host}'. Write a name that this machine can resolve" in await refusal(f"redis://{host}")


async def test_a_resolver_that_fails_for_now_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def later(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", later)
    backend = open_backend("redis://queue.example:6379/0")
    with pytest.raises(BackendUnavailable, match=r"within MOCRA_START_TIMEOUT = 0\.01 s"):
        await backend.open(0.01)
    await backend.close()
    assert "Waiting for redis://queue.example:6379/0, up to 0.01 s (MOCRA_START_TIMEOUT)" in caplog.text
    assert "Temporary failure in name resolution" in caplog.text


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (b"SSH-2.0-OpenSSH\r\n", "SSH-2.0-OpenSSH"),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_what_is_no_redis(answer: bytes, shown: str, scheme: str) -> None:
    async with listening(answer) as port:
        told = await refusal(f"{scheme}://127.0.0.1:{port}/0")
    assert f"what answers there is no Redis: it says '{shown}'. Write the host and port of a Redis" in told


async def test_nobody_there_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    url = f"redis://user:hunter2@127.0.0.1:{free_port()}/0"
    backend = open_backend(url)
    with pytest.raises(BackendUnavailable, match="is the server running"):
        await backend.open(0.5)
    await backend.close()
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "up to 0.5 s (MOCRA_START_TIMEOUT): Error 111 connecting to" in record.getMessage()
    assert "hunter2" not in caplog.text


async def test_a_server_that_hangs_up_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(None) as port:
        backend = open_backend(f"redis://127.0.0.1:{port}/0")
        with pytest.raises(BackendUnavailable):
            await backend.open(0.5)
        await backend.close()
    assert caplog.text.count("Waiting for redis://") == 1


@pytest.mark.redis
async def test_tls_and_certificates(redis_tls: TlsRedis, own_redis: RedisServer) -> None:
    tls, plain = redis_tls.port, own_redis.port
    assert "the server speaks TLS only. Write rediss:// instead of redis://" in await refusal(
        f"redis://127.0.0.1:{tls}"
    )
    assert "the server speaks no TLS. Write redis:// instead of rediss://" in await refusal(
        f"rediss://127.0.0.1:{plain}"
    )
    assert "Write valkey:// instead of valkeys://" in await refusal(f"valkeys://127.0.0.1:{plain}")
    assert "its certificate is not trusted" in (told := await refusal(f"rediss://127.0.0.1:{tls}"))
    assert 'MOCRA_REDIS_OPTIONS = {"ssl_ca_certs": ' in told
    told = await refusal(f"rediss://app:wrong@127.0.0.1:{tls}", ssl_ca_certs=str(redis_tls.ca))
    assert "refuses the user name or password" in told
    assert "wrong" not in told.replace("WRONGPASS", "")


@pytest.mark.redis
async def test_passwords(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, password="secret")
    server.start()
    try:
        assert "asks for a password, and there is none. Write redis://:PASSWORD@" in await refusal(server.url)
        told = await refusal(f"redis://:hunter2@127.0.0.1:{server.port}")
        assert "refuses the user name or password" in told
        assert "hunter2" not in told
    finally:
        server.kill()


@pytest.mark.redis
async def test_a_late_server_is_told_too(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    own_redis.kill()
    backend = open_backend(own_redis.url)
    opening = asyncio.ensure_future(backend.open(LONG))
    began = time.monotonic()
    while "Waiting for" not in caplog.text:
        assert time.monotonic() - began < LONG
        await asyncio.sleep(0.01)
    await asyncio.to_thread(own_redis.start)
    await opening
    await backend.close()
    assert f"{own_redis.url} answers after" in caplog.text


async def test_a_socket_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> Callable[[], None]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio, "open_unix_connection", deny)
    told = await refusal(f"unix://{tmp_path}/redis.sock")
    assert "this user may not open that socket. Grant it (unixsocketperm" in told
