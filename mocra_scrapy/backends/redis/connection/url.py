"""Where a Redis is: URLs and ``MOCRA_REDIS_OPTIONS``, checked before anything is connected."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote

from mocra_scrapy.exceptions import ConfigurationError

#: Arguments of redis-py that make sense here, by what they must be.
TEXTS = (
    "username",
    "password",
    "sentinel_username",
    "sentinel_password",
    "client_name",
    "ssl_ca_certs",
    "ssl_ca_data",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_ciphers",
    "ssl_password",
)
FLAGS = ("ssl_check_hostname", "socket_keepalive")
SECONDS = ("socket_timeout", "socket_connect_timeout", "health_check_interval")
WHOLE = ("db", "shards", "protocol", "max_connections")
SSL_REQS = ("none", "optional", "required")
KNOWN = (*TEXTS, *FLAGS, *SECONDS, *WHOLE)

_SCHEME = re.compile(r"(?i)^(?:(?P<tls>rediss|valkeys)|redis|valkey)(?:\+(?P<kind>sentinel|cluster))?$")
_HOST = re.compile(r"^(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))?(?::(?P<port>\d{1,5}))?$")


@dataclass(frozen=True)
class RedisTarget:
    """A parsed URL.

    Attributes:
        kind: ``single``, ``unix``, ``sentinel`` or ``cluster``.
        hosts: ``(host, port)`` pairs; of the Sentinels, for that kind.
        path: of the unix socket.
        master: its name, for Sentinel.
        tls: whether to speak TLS.
        shards: default number of shards of a crawl.
        arguments: for the client; may hold passwords, so it is never shown.
        redacted: the URL for logs.
    """

    kind: str
    redacted: str
    hosts: Sequence[tuple[str, int]] = ()
    path: str = ""
    master: str = ""
    tls: bool = False
    shards: int = 1
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse_url(url: str, options: Mapping[str, Any], redacted: str) -> RedisTarget:
    """The server that *url* and *options* (which win) name.

    Raises:
        ConfigurationError: a part is malformed or unknown; no message shows a password.
    """
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    arguments: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        arguments[name] = _checked("MOCRA_BACKEND", name, text)
    for name, value in options.items():
        arguments[name] = _checked("MOCRA_REDIS_OPTIONS", name, value)
    userinfo, at, place = rest.rpartition("@")
    if at:
        user, colon, password = userinfo.partition(":")
        if user:
            arguments.setdefault("username", unquote(user))
        if colon:
            arguments.setdefault("password", unquote(password))
    shards = int(arguments.pop("shards", 1))
    if scheme.lower() == "unix":
        path = unquote(place)
        if not path.startswith("/"):
            _fail(redacted, "names no socket", "Write unix:///path/to/redis.sock")
        return RedisTarget("unix", redacted, path=path, shards=shards, arguments=arguments)
    match = _SCHEME.match(scheme)
    if match is None:
        _fail(
            redacted,
            f"has the scheme {scheme!r}",
            "Write redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://",
        )
    kind, tls = (match["kind"] or "single").lower(), bool(match["tls"])
    hosts_text, _, path = place.partition("/")
    hosts = [_host(text, 26379 if kind == "sentinel" else 6379, redacted) for text in hosts_text.split(",")]
    if kind == "single" and len(hosts) > 1:
        _fail(redacted, "names several hosts", "Write redis+cluster:// or redis+sentinel:// for these")
    master = ""
    if kind == "sentinel":
        master, _, path = path.partition("/")
        if not master:
            _fail(redacted, "names no master", "Write redis+sentinel://host:26379,host:26379/mymaster/0")
    _database(path, kind, arguments, redacted)
    return RedisTarget(kind, redacted, hosts, master=master, tls=tls, shards=shards, arguments=arguments)


def _database(path: str, kind: str, arguments: dict[str, Any], redacted: str) -> None:
    path = path.strip("/")
    if path:
        if not path.isdecimal():
            _fail(redacted, f"has the database {path!r}", "Write a number, as in redis://host:6379/0")
        arguments.setdefault("db", int(path))
    if kind == "cluster":
        if arguments.get("db"):
            _fail(redacted, "names a database", "A cluster has only database 0: leave it out")
        arguments.pop("db", None)


def _host(text: str, default: int, redacted: str) -> tuple[str, int]:
    match = _HOST.match(text)
    port = int(match["port"] or default) if match else 0
    if match is None or not 0 < port < 65536:
        _fail(redacted, "has a host that can't be read", "Write host:port; percent-encode @, : and / in passwords")
    return match["six"] or match["name"] or "localhost", port


def _fail(redacted: str, problem: str, fix: str) -> NoReturn:
    raise ConfigurationError("MOCRA_BACKEND", f"{redacted!r} {problem}", fix)


def _checked(where: str, name: str, value: Any) -> Any:
    """The value of one argument in its type."""
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, n=1)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(where, f"{name!r} is unknown", f"{guess}Known are {', '.join(sorted(KNOWN))}")
    if name in FLAGS:
        if str(value).lower() in ("true", "1", "yes", "on"):
            return True
        if str(value).lower() in ("false", "0", "no", "off"):
            return False
        raise ConfigurationError(where, f"{name} = {value!r} is neither true nor false", "Write true or false")
    if name in SECONDS:
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = math.nan
        if not 0 < seconds <= 3600:
            raise ConfigurationError(
                where, f"{name} = {value!r} is not a time in seconds", "Write a number above 0, 3600 at most"
            )
        return seconds
    if name in WHOLE:
        text = str(value)
        most = {"db": 1_000_000, "shards": 1024, "protocol": 3, "max_connections": 100_000}[name]
        if not text.isdecimal() or not (0 if name == "db" else 1) <= int(text) <= most:
            raise ConfigurationError(
                where, f"{name} = {value!r} is not a number from 1 to {most}", "Write a whole number"
            )
        return int(text)
    if not isinstance(value, str):
        raise ConfigurationError(where, f"{name} is a {type(value).__name__}", "Write a text")
    if name == "ssl_cert_reqs" and value not in SSL_REQS:
        raise ConfigurationError(where, f"{name} = {value!r} is unknown", f"Write one of {', '.join(SSL_REQS)}")
    return value
