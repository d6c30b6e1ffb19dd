"""Why a server that was named does not answer as Redis does: mistakes that no waiting mends.

Looked for once, when the first call of a start has failed or takes long. Nothing secret is sent:
what listens there may be anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from mocra_scrapy.backends.redis.connection.url import RedisTarget
from mocra_scrapy.exceptions import ConfigurationError

PATIENCE = 1.0  # s for each look
#: What a resolver says of a name that does not exist. That it can't say now (EAI_AGAIN) passes.
NO_SUCH_HOST = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
TLS_ALERT = b"\x15\x03"


async def diagnose(target: RedisTarget, error: BaseException | None) -> ConfigurationError | None:
    """What is wrong with *target*; ``None``: nothing that would not pass.

    Args:
        error: what the first call failed with, if it did yet.
    """
    if target.kind == "unix":
        return _socket(target, error)
    if len(target.hosts) != 1:
        return None  # the others may do
    host, port = target.hosts[0]
    if not await _exists(host, port):
        return _wrong(
            target, f"there is no host {host!r}", "Write a name that this machine can resolve, or the server's address"
        )
    distrust = _cause(error, ssl.SSLCertVerificationError)
    if distrust is not None:
        return _wrong(
            target,
            f"its certificate is not trusted ({distrust})",
            'Name who signed it, as in MOCRA_REDIS_OPTIONS = {"ssl_ca_certs": "/path/to/ca.crt"}, or write the host that it is for',
        )
    return await _look(target, host, port)


async def _look(target: RedisTarget, host: str, port: int) -> ConfigurationError | None:
    """What is wrong with what listens there."""
    said = await _greet(host, port)
    if said is None:
        return None
    if said.startswith(TLS_ALERT) or (not said and await _speaks_tls(host, port)):
        return None if target.tls else _other_scheme(target, "speaks TLS only")
    if said.startswith((b"+PONG", b"-")):
        return _other_scheme(target, "speaks no TLS") if target.tls else None
    if said:
        line = said.split(b"\n")[0][:40].decode("latin-1").strip()
        return _wrong(
            target,
            f"what answers there is no Redis: it says {line!r}",
            "Write the host and port of a Redis or Valkey server, as in redis://localhost:6379/0",
        )
    return None


def _wrong(target: RedisTarget, problem: str, fix: str) -> ConfigurationError:
    return ConfigurationError("MOCRA_BACKEND", f"{target.redacted}: {problem}", fix)


def _other_scheme(target: RedisTarget, problem: str) -> ConfigurationError:
    now = target.redacted.partition("://")[0]
    name, plus, kind = now.partition("+")
    then = name.removesuffix("s") if target.tls else f"{name}s"
    return _wrong(target, f"the server {problem}", f"Write {then}{plus}{kind}:// instead of {now}://")


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The error of *kind* behind *error*."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, kind):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _socket(target: RedisTarget, error: BaseException | None) -> ConfigurationError | None:
    if _cause(error, PermissionError) is None:
        return None
    return _wrong(target, "this user may not open that socket", "Grant it (unixsocketperm of redis.conf, the group)")


async def _exists(host: str, port: int) -> bool:
    loop = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), PATIENCE)
    except socket.gaierror as error:
        return error.errno not in NO_SUCH_HOST
    except UnicodeError:  # no name at all
        return False
    except (OSError, asyncio.TimeoutError):
        return True
    return True


async def _greet(host: str, port: int) -> bytes | None:
    """What answers to a PING; nothing: it closed the connection; ``None``: it can't be reached, or
    says nothing.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        reader, opened = await asyncio.wait_for(asyncio.open_connection(host, port), PATIENCE)
        writer = opened
        opened.write(b"PING\r\n\r\n")  # to a web server a whole request, if not one that it likes
        return await asyncio.wait_for(reader.read(100), PATIENCE)
    except ConnectionResetError:
        return b"" if writer is not None else None
    except (OSError, asyncio.TimeoutError):
        return None
    finally:
        await _close(writer)


async def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # who it is doesn't matter here
    writer: asyncio.StreamWriter | None = None
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=context), PATIENCE)
    except ssl.SSLError as error:
        return "CERTIFICATE" in str(error).upper()  # it wants ours
    except (OSError, asyncio.TimeoutError):
        return False
    finally:
        await _close(writer)
    return True


async def _close(writer: asyncio.StreamWriter | None) -> None:
    if writer is not None:
        writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), PATIENCE)
