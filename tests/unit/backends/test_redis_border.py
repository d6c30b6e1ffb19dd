"""The border to redis-py: URLs, its errors in our words, what is told about a server. The real
servers are in tests/integration.
"""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions as theirs

from mocra_scrapy.backends.redis.connection.calling import why_no_functions
from mocra_scrapy.backends.redis.connection.errors import translated
from mocra_scrapy.backends.redis.connection.server_check import check_server
from mocra_scrapy.backends.redis.connection.url import parse_url
from mocra_scrapy.exceptions import BackendCorrupted, BackendUnavailable, ConfigurationError


def parse(url: str, **options: Any) -> Any:
    return parse_url(url, options, "REDACTED")


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "arguments"),
    [
        ("redis://", "single", [("localhost", 6379)], {}),
        ("redis://h:1/3", "single", [("h", 1)], {"db": 3}),
        ("redis://[::1]:7", "single", [("::1", 7)], {}),
        ("valkeys://u:p%40%3A%2F@h", "single", [("h", 6379)], {"username": "u", "password": "p@:/"}),
        (
            "redis://:p@h?socket_timeout=2&ssl_check_hostname=no",
            "single",
            [("h", 6379)],
            {"password": "p", "socket_timeout": 2.0, "ssl_check_hostname": False},
        ),
        ("redis+sentinel://a,b:1/mymaster/2", "sentinel", [("a", 26379), ("b", 1)], {"db": 2}),
        ("rediss+cluster://a:1,b:2", "cluster", [("a", 1), ("b", 2)], {}),
        ("redis+cluster://a/0", "cluster", [("a", 6379)], {}),
    ],
)
def test_urls(url: str, kind: str, hosts: list[tuple[str, int]], arguments: dict[str, Any]) -> None:
    target = parse(url)
    assert (target.kind, list(target.hosts), dict(target.arguments)) == (kind, hosts, arguments)
    assert target.tls == url.startswith(("rediss", "valkeys"))


def test_options_win_over_the_url() -> None:
    target = parse("redis://u:p@h/1?shards=4", password="q", db=2)
    assert target.arguments == {"username": "u", "password": "q", "db": 2}
    assert target.shards == 4
    assert parse("unix:///run/redis.sock?db=1").path == "/run/redis.sock"
    assert "q" not in repr(target), "passwords are never shown"


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("redis://a,b", "redis+cluster://"),
        ("redis+sentinel://a:1", "mymaster"),
        ("redis+cluster://a:1/3", "only database 0"),
        ("redis://h:99999", "can't be read"),
        ("redis://p@ss/word@h:x", "percent-encode"),
        ("redis://h/zero", "Write a number"),
        ("unix://relative.sock", "unix:///path"),
        ("redis://h?sokcet_timeout=1", "Did you mean 'socket_timeout'"),
        ("redis://h?socket_timeout=never", "above 0"),
        ("redis://h?shards=0", "from 1 to 1024"),
        ("redis://h?ssl_cert_reqs=maybe", "none, optional, required"),
        ("redis://h?socket_keepalive=perhaps", "true or false"),
        ("redis+ring://h", "redis+cluster://"),
    ],
)
def test_wrong_urls_are_explained(url: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(url)
    assert hint in str(raised.value)


def test_wrong_options_are_explained() -> None:
    with pytest.raises(ConfigurationError, match="MOCRA_REDIS_OPTIONS: password is a int"):
        parse("redis://h", password=3)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (theirs.ConnectionError("Connection refused"), BackendUnavailable, "refused"),
        (theirs.TimeoutError(), BackendUnavailable, "TimeoutError"),
        (OSError("no route"), BackendUnavailable, "no route"),
        (theirs.ResponseError("LOADING Redis is loading"), BackendUnavailable, "loading its data"),
        (theirs.ResponseError("MISCONF can't save"), BackendUnavailable, "its disk"),
        (theirs.ResponseError("OOM command not allowed"), BackendUnavailable, "memory is full"),
        (theirs.ReadOnlyError("You can't write against a read only replica."), BackendUnavailable, "become a replica"),
        (theirs.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), BackendUnavailable, "is full"),
        (theirs.ClusterDownError("The cluster is down"), BackendUnavailable, "lacks nodes"),
        (theirs.MasterDownError("Link with MASTER is down"), BackendUnavailable, "without its master"),
        (theirs.TryAgainError("Multiple keys request during rehashing"), BackendUnavailable, "is being moved"),
        (theirs.RedisClusterException("no nodes"), BackendUnavailable, "no nodes"),
        (theirs.AuthenticationError("WRONGPASS invalid username-password pair"), ConfigurationError, "refuses"),
        (theirs.ConnectionError("AUTH failed: WRONGPASS"), ConfigurationError, "percent-encode"),
        (theirs.NoPermissionError("NOPERM this user has no permissions"), ConfigurationError, "~p:*"),
        (theirs.ResponseError("NOPERM keys"), ConfigurationError, "Grant"),
        (theirs.ResponseError("DB index is out of range"), ConfigurationError, "0 to 15"),
        (theirs.ResponseError("unknown command 'EVALSHA'"), ConfigurationError, "6.2"),
        (theirs.ResponseError("WRONGTYPE Operation against a key"), BackendCorrupted, "WRONGTYPE"),
    ],
)
def test_their_errors_in_our_words(error: Exception, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as raised, translated("redis://h", "p"):
        raise error
    assert type(raised.value) is kind
    assert says in str(raised.value)
    assert "redis://h" in str(raised.value)
    assert raised.value.__cause__ is error


class Answering:
    """A client whose server answers INFO as told."""

    def __init__(self, kind: str = "single", **info: Any) -> None:
        self.target = parse(f"redis{'' if kind == 'single' else '+' + kind}://h" + ("/m" if kind == "sentinel" else ""))
        self._info = {"redis_version": "7.2.4", "redis_mode": "standalone", "role": "master", "aof_enabled": 1, **info}

    async def info(self) -> list[dict[str, Any]]:
        if "error" in self._info:
            raise self._info["error"]
        return [self._info]


@pytest.mark.parametrize(
    ("client", "says"),
    [
        (Answering(redis_version="5.0.14"), "is Redis 5.0.14. Redis 6.2 or later"),
        (Answering(redis_version="6.0.20"), "6.2 or later"),
        (Answering(redis_mode="sentinel"), "redis+sentinel://"),
        (Answering(redis_mode="cluster"), "redis+cluster://"),
        (Answering("cluster"), "is not a cluster"),
        (Answering(role="slave", master_host="m", master_port=1), "m:1"),
    ],
)
async def test_servers_that_cannot_serve(client: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        await check_server(client)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 100}, "maxmemory-policy is allkeys-lru: when memory is full"),
        ({"maxmemory_policy": "volatile-ttl", "maxmemory": 0}, "as soon as maxmemory is set"),
        ({"aof_enabled": 0}, "appendonly is off"),
        ({"aof_last_write_status": "err"}, "write to its disk failed"),
    ],
)
async def test_warnings_say_what_and_why(info: dict[str, Any], says: str) -> None:
    report = await check_server(Answering(**info))  # type: ignore[arg-type]
    assert len(report.warnings) == 1
    assert says in report.warnings[0]


async def test_a_good_server() -> None:
    report = await check_server(Answering(valkey_version="8.0.1", maxmemory_policy="noeviction"))  # type: ignore[arg-type]
    assert report.warnings == []
    assert report.facts["server"] == "Valkey 8.0.1"


async def test_info_may_be_forbidden() -> None:
    refused = ConfigurationError("MOCRA_BACKEND", "h lacks access rights: NOPERM", "Grant")
    assert "not allowed" in (await check_server(Answering(error=refused))).facts["version"]  # type: ignore[arg-type]
    wrong = ConfigurationError("MOCRA_BACKEND", "h refuses the password", "Check")
    with pytest.raises(ConfigurationError):
        await check_server(Answering(error=wrong))  # type: ignore[arg-type]


def test_a_write_to_a_connection_that_was_just_reset_is_an_outage() -> None:
    """asyncio of Python 3.13 and uvloop raise errors of other kinds for it; a programming error
    stays one.
    """
    lost = AttributeError("'NoneType' object has no attribute '_add_writer'")
    closed = RuntimeError(
        "unable to perform operation on <TCPTransport closed=True reading=False>; the handler is closed"
    )
    for error in (lost, closed):
        with pytest.raises(BackendUnavailable, match="connection was lost"), translated("redis://h"):
            raise error
    with pytest.raises(AttributeError), translated("redis://h"):
        raise AttributeError("'str' object has no attribute 'wrong'")


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (
            theirs.ResponseError("unknown command 'FCALL', with args beginning with: 'mocra_exchange' '1'"),
            "no functions",
        ),
        (theirs.ResponseError("unknown command `FCALL`, with args beginning with: "), "no functions"),
        (theirs.ResponseError("unsupported command 'fcall'"), "no functions"),
        (theirs.ResponseError("Error registering functions: @user_function: 1: attempt to index"), "no functions"),
        (theirs.NoPermissionError("this user has no permissions to run the 'fcall' command"), "FCALL"),
        (theirs.NoPermissionError("User app has no permissions to run the 'function|load' command"), "FUNCTION"),
        (theirs.ResponseError("Function not found"), "forgets"),
        (theirs.NoPermissionError("this user has no permissions to access one of the keys used as arguments"), None),
        (
            theirs.ResponseError(
                "Unknown Redis command called from script script: mocra_exchange_1, on @user_function:1."
            ),
            None,
        ),
        (
            theirs.ResponseError("The user executing the script can't run this command or subcommand script: mocra"),
            None,
        ),
        (theirs.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), None),
        (theirs.ReadOnlyError("You can't write against a read only replica."), None),
        (theirs.ResponseError("mocra: the call numbers of a worker must grow"), None),
    ],
)
def test_where_the_exchange_can_be_no_function(error: theirs.ResponseError, word: str | None) -> None:
    why = why_no_functions(error)
    assert why is None if word is None else word in str(why)
