"""A look at the server when a worker starts: what it is, what is wrong with it, and why that
matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.exceptions import BackendCorrupted, ConfigurationError
from mocra_scrapy.models import ServerReport

OLDEST = (6, 2)


def _version(info: Mapping[str, Any]) -> tuple[str, str, tuple[int, ...]]:
    """``(product, version for people, version of Redis that it is compatible with)``."""
    compatible = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in compatible.split(".")[:2] if part.isdecimal())
    if "valkey_version" in info:
        return "Valkey", str(info["valkey_version"]), numbers
    return "Redis", compatible, numbers


def _refuse(url: str, problem: str, fix: str) -> ConfigurationError:
    return ConfigurationError("MOCRA_BACKEND", f"{url} {problem}", fix)


def _usable(info: Mapping[str, Any], client: RedisClient) -> None:
    """Raises ConfigurationError when this server can't do the work at all."""
    url, kind = client.target.redacted, client.target.kind
    mode = info.get("redis_mode", "standalone")
    if mode == "sentinel":
        raise _refuse(url, "is a Sentinel", "Write redis+sentinel://host:26379/mymaster")
    product, version, numbers = _version(info)
    if product == "Redis" and numbers < OLDEST:
        raise _refuse(url, f"is Redis {version}", "Redis 6.2 or later, or Valkey, is needed (LPOP with a count, LMOVE)")
    if mode == "cluster" and kind != "cluster":
        raise _refuse(url, "is a node of a cluster", "Write redis+cluster://host:port instead of redis://")
    if mode != "cluster" and kind == "cluster":
        raise _refuse(url, "is not a cluster", "Write redis://host:port/0 instead of redis+cluster://")
    if info.get("role") == "slave":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        raise _refuse(
            url, "is a replica and can't be written to", f"Name its master, {master}, or use redis+sentinel://"
        )


def _warnings(info: Mapping[str, Any]) -> list[str]:
    warnings = []
    policy, limit = info.get("maxmemory_policy"), int(info.get("maxmemory", 0) or 0)
    if policy and policy != "noeviction":
        when = "when memory is full" if limit else "as soon as maxmemory is set"
        warnings.append(
            f"maxmemory-policy is {policy}: {when} the server deletes keys, and with them requests that nobody has fetched. "
            "Set it to noeviction"
        )
    saves = info.get("aof_enabled"), info.get("rdb_saves", info.get("rdb_last_save_time"))
    if info.get("aof_enabled") == 0:
        warnings.append(
            "appendonly is off: a restart of the server loses the crawl"
            + (", or what came after its last snapshot" if saves[1] else "")
            + ". Set appendonly yes"
        )
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("rdb_last_bgsave_status", "ok") != "ok":
        warnings.append("its last attempt to write to its disk failed: look at its log")
    return warnings


async def check_server(client: RedisClient) -> ServerReport:
    """Look at every primary.

    Raises:
        ConfigurationError: too old, a replica, a Sentinel, a cluster behind a plain URL or the
            other way round.
        BackendUnavailable: it went away meanwhile.
    """
    try:
        infos = await client.info()
    except (ConfigurationError, BackendCorrupted) as error:
        if isinstance(error, ConfigurationError) and "access rights" not in error.problem:
            raise
        # Managed services forbid INFO to plain users.
        return ServerReport({"version": "unknown (INFO is not allowed)"})
    for info in infos:
        _usable(info, client)
    product, version, _ = _version(infos[0])
    facts = {
        "server": f"{product} {version}",
        "mode": client.target.kind,
        "append-only file": "on" if all(info.get("aof_enabled") for info in infos) else "off",
    }
    if client.target.kind == "cluster":
        facts["primaries"] = str(len(infos))
    return ServerReport(facts, list(dict.fromkeys(warning for info in infos for warning in _warnings(info))))
