"""Errors of redis-py, in our words. They never cross this folder's border."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as theirs

from mocra_scrapy.exceptions import BackendCorrupted, BackendUnavailable, ConfigurationError, MocraError

#: What a server says when it is alive but can't serve now -> what that means. Worth repeating.
PASSING = {
    "LOADING": "it is loading its data after a restart",
    "BUSY": "another client's script has been running for seconds",
    "MASTERDOWN": "it is a replica without its master",
    "CLUSTERDOWN": "its cluster lacks nodes",
    "TRYAGAIN": "a hash slot is being moved",
    "READONLY": "it has become a replica",
    "NOREPLICAS": "it has fewer replicas than min-replicas-to-write asks for",
    "MISCONF": "it can't save to its disk and refuses writes: look at its log and its disk",
    "OOM": "its memory is full (maxmemory): give it more, or make room",
    "UNBLOCKED": "it has become a replica",
    "DENIED": "protected mode refuses us",
    "max number": "it has too many clients (maxclients)",
    "non local key": "a hash slot is being moved",
}

#: What Redis 7.0 says where a script lacks a right, without a word in front.
IN_A_SCRIPT = "The user executing the script can't"

#: What a server says to those who gave none. The second is the answer to HELLO.
NO_PASSWORD = ("NOAUTH", "client already authenticated", "Authentication required")

#: redis-py takes the word away from messages for which it has a class.
CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (theirs.OutOfMemoryError, "OOM"),
    (theirs.ReadOnlyError, "READONLY"),
    (theirs.MasterDownError, "MASTERDOWN"),
    (theirs.ClusterDownError, "CLUSTERDOWN"),
    (theirs.TryAgainError, "TRYAGAIN"),
)


@contextmanager
def translated(url: str, prefix: str = "mocra") -> Iterator[None]:
    """Run client calls; whatever they raise leaves as a
    :class:`~mocra_scrapy.exceptions.MocraError` that names *url*.

    Raises:
        BackendUnavailable: no answer, or "not now".
        ConfigurationError: wrong password, missing access rights, no such database.
        BackendCorrupted: anything else that the server refused.
    """
    try:
        yield
    except MocraError:
        raise
    except (theirs.AuthenticationError, theirs.NoPermissionError, theirs.AuthorizationError) as error:
        raise _refused(url, prefix, str(error)) from error
    except (
        theirs.MaxConnectionsError,
        theirs.ConnectionError,
        theirs.TimeoutError,
        OSError,
        asyncio.TimeoutError,
    ) as error:
        text = str(error)
        if any(word in text for word in ("WRONGPASS", "NOAUTH", "invalid username-password", "invalid password")):
            raise _refused(url, prefix, text) from error
        raise BackendUnavailable(f"{url}: {_text(error)}") from error
    except (AttributeError, RuntimeError) as error:
        # What asyncio (3.13) and uvloop raise when something is written to a connection that was
        # reset a moment before.
        if not _lost_transport(error):
            raise
        raise BackendUnavailable(f"{url}: the connection was lost") from error
    except theirs.ResponseError as error:
        word = next((word for kind, word in CLASSES if isinstance(error, kind)), "")
        text = str(error)
        raise _answered(url, prefix, text if text.startswith(word) else f"{word} {text}") from error
    except (theirs.RedisError, theirs.RedisClusterException) as error:
        # SlotNotCoveredError…: the client can't reach the nodes that it needs. The second is no
        # subclass of the first
        if "Cluster mode is not enabled" in str(error):
            raise ConfigurationError(
                "MOCRA_BACKEND", f"{url} is not a cluster", "Write redis://host:port/0 instead of redis+cluster://"
            ) from error
        raise BackendUnavailable(f"{url}: {_text(error)}") from error


def is_replica(error: theirs.ResponseError) -> bool:
    """Whether a server refuses to write because it is a replica. Older ones say it of a script in
    the middle of a sentence.
    """
    return isinstance(error, theirs.ReadOnlyError) or "READONLY" in str(error)


def _lost_transport(error: BaseException) -> bool:
    text = str(error)
    return "_add_writer" in text or "closed" in text


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _refused(url: str, prefix: str, text: str) -> ConfigurationError:
    text = text.rstrip(".")
    if "NOPERM" in text or "permission" in text.lower() or IN_A_SCRIPT in text:
        return ConfigurationError(
            "MOCRA_BACKEND",
            f"{url} lacks access rights: {text}",
            f"Grant the user: ~{prefix}:* &{prefix}:* +@all -@dangerous +info",
        )
    if any(words in text for words in NO_PASSWORD):
        return ConfigurationError(
            "MOCRA_BACKEND",
            f"{url} asks for a password, and there is none",
            f'Write {url.partition("://")[0]}://:PASSWORD@… (or USER:PASSWORD@…), or set MOCRA_REDIS_OPTIONS = {{"password": ...}}',
        )
    return ConfigurationError(
        "MOCRA_BACKEND",
        f"{url} refuses the user name or password: {text}",
        "Check both; percent-encode @, : and / in them, or give them in MOCRA_REDIS_OPTIONS",
    )


def _answered(url: str, prefix: str, text: str) -> MocraError:
    for word, meaning in PASSING.items():
        if text.startswith(word) or f" {word} " in text or f"-{word} " in text:
            return BackendUnavailable(f"{url} can't serve now: {meaning} ({text})")
    if any(word in text for word in ("NOPERM", "NOAUTH", "WRONGPASS", "no permissions", IN_A_SCRIPT)):
        return _refused(url, prefix, text)
    if "DB index is out of range" in text or "invalid DB index" in text:
        return ConfigurationError(
            "MOCRA_BACKEND", f"{url}: {text}", "Choose a database that the server has, usually 0 to 15"
        )
    if "unknown command" in text.lower() or "cluster support disabled" in text:
        return ConfigurationError("MOCRA_BACKEND", f"{url}: {text}", "Redis 6.2 or later, or Valkey, is needed")
    return BackendCorrupted(f"{url}: {text}")
