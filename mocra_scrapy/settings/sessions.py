"""The settings of sessions: whether cookies are shared, the pools, the key."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.checks import setting_number
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

NAME, KEY = "MOCRA_SESSIONS", "MOCRA_SECRET_KEY"
EXAMPLE = 'Write True, or a dict of pools: {"shop.example": {"policy": "project.sessions.Shop", "size": 5}}'
MAKE_A_KEY = 'Make one with: python -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'
#: What becomes of a retry.
RETRIES = ("rotate", "keep")
#: Option -> bounds; whole numbers are those whose default is one.
_NUMBERS = {
    "size": (1, 1000),
    "wait": (0, 86_400),
    "concurrency": (0, 10_000),
    "max_uses": (0, 1_000_000_000),
    "max_age": (0, 31_536_000),
    "max_errors": (1, 1_000_000),
    "max_bad_inits": (1, 1_000_000),
    "init_timeout": (1, 3600),
}


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Of one pool. Times are seconds; 0 of a bound: there is none.

    Attributes:
        size: sessions at most, over all workers.
        policy: import path of a :class:`~mocra_scrapy.sessions.policy.SessionPolicy`.
        wait: that a request waits for a session before it goes back into the queue.
        concurrency: requests of one session in flight at once, over all workers.
        max_uses: requests of one session.
        max_age: after which it is replaced.
        max_errors: bad answers with which it is replaced; a good one makes up for half of one.
        max_bad_inits: attempts to make a session that failed one after the other with which the crawl
            is closed.
        init_timeout: that making or refreshing one may take.
        on_retry: ``"rotate"``: a retry takes another session; ``"keep"``: the same, if it is still good.
        proxy: whether a session keeps to one proxy.
        headers: that each request of the pool's site carries.
        user_agents: of which each session gets one.
        bad_statuses: of answers that speak against the session, unless its policy says otherwise.
    """

    size: int = 10
    policy: str = "mocra_scrapy.sessions.policy.SessionPolicy"
    wait: float = 60.0
    concurrency: int = 0
    max_uses: int = 0
    max_age: float = 0.0
    max_errors: int = 3
    max_bad_inits: int = 8
    init_timeout: float = 60.0
    on_retry: str = "rotate"
    proxy: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    user_agents: tuple[str, ...] = ()
    bad_statuses: tuple[int, ...] = (401, 403, 429)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Attributes:
    pools: site -> its options.
    ttl: seconds that a session is kept after its last change.
    keys: that encrypt what a session holds; the first one encrypts, all decrypt.
    """

    pools: Mapping[str, PoolOptions]
    ttl: float
    keys: tuple[bytes, ...] = ()


def read_sessions(settings: BaseSettings) -> SessionOptions | None:
    """``None``: Scrapy keeps the cookies, each worker for itself.

    Raises:
        ConfigurationError: names the part that is wrong, and the fix.
    """
    read = SettingsReader(settings)
    ttl = read.number("MOCRA_SESSION_TTL", 60, 31_536_000, "a time in seconds")
    keys = read_keys(read.value(KEY))
    value = _value(read.value(NAME))
    if value is False:
        return None
    pools = {} if value is True else {_site(name): _pool(name, options) for name, options in value.items()}
    return SessionOptions(pools, ttl, keys)


def read_keys(value: object) -> tuple[bytes, ...]:
    """The keys of ``MOCRA_SECRET_KEY``: one, or several with commas in between.

    Raises:
        ConfigurationError: one is none. The text does not show it.
    """
    if value is None or value == "":
        return ()
    keys = []
    for text in str(value).split(","):
        try:
            key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != 32:
            raise ConfigurationError(KEY, "a key is not 32 bytes in base64", MAKE_A_KEY)
        keys.append(key)
    return tuple(keys)


def _value(value: Any) -> bool | Mapping[str, Any]:
    """What ``-s`` gives is a text."""
    if value is None:
        return False
    if isinstance(value, (bool, Mapping)):
        return value
    text = str(value).strip()
    if text.lower() in ("1", "true", "0", "false", "none", ""):
        return text.lower() in ("1", "true")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(NAME, f"{value!r} is neither true, false nor a dict", EXAMPLE)
    return found


def _site(name: Any) -> str:
    text = name.strip().lower() if isinstance(name, str) else ""
    if not text or "/" in text or "@" in text or any(c.isspace() for c in text):
        raise ConfigurationError(NAME, f"{name!r} is no host", 'Write it as "shop.example", without scheme and port')
    return text


def _pool(name: str, given: Any) -> PoolOptions:
    subject = f"{NAME}[{name!r}]"
    if not isinstance(given, Mapping):
        raise ConfigurationError(subject, f"{given!r} is not a dict", EXAMPLE)
    known = {one.name for one in fields(PoolOptions)}
    for key in given:
        if key not in known:
            raise ConfigurationError(subject, f"{key!r} is unknown", f"Use {', '.join(sorted(known))}")
    options = {key: _option(f"{subject}[{key!r}]", key, value) for key, value in given.items()}
    return PoolOptions(**options)


def _option(subject: str, key: str, value: Any) -> Any:  # noqa: PLR0911 - a table of types
    if key in _NUMBERS:
        whole = isinstance(getattr(PoolOptions(), key), int)
        found = setting_number(subject, 0 if value is None else value, *_NUMBERS[key], whole=whole)
        return int(found) if whole else found
    if key == "proxy":
        if not isinstance(value, bool):
            raise ConfigurationError(subject, f"{value!r} is neither true nor false", "Set True or False")
        return value
    if key == "on_retry":
        if value not in RETRIES:
            raise ConfigurationError(subject, f"{value!r} is unknown", f"Set one of {', '.join(map(repr, RETRIES))}")
        return value
    if key == "policy":
        if not isinstance(value, (str, type)) or not value:
            raise ConfigurationError(subject, f"{value!r} is no class", "Set the import path of a SessionPolicy")
        return value if isinstance(value, str) else f"{value.__module__}.{value.__qualname__}"
    if key == "headers":
        return _headers(subject, value)
    if key == "user_agents":
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, (list, tuple)) or not all(_is_header_value(text) for text in texts):
            raise ConfigurationError(subject, f"{value!r} is no list of texts", "Set a list of User-Agent values")
        return tuple(texts)
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError(subject, f"{value!r} is no list", "Set a list of statuses, as [401, 403, 429]")
    return tuple(int(setting_number(subject, one, 100, 599, whole=True)) for one in value)


def _headers(subject: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(subject, f"{type(value).__name__} is no dict", 'Write {"Accept-Language": "de"}')
    for name, text in value.items():
        if not (
            isinstance(name, str) and name.isascii() and name.replace("-", "").isalnum() and _is_header_value(text)
        ):
            raise ConfigurationError(
                subject, f"{name!r} is no header of printable text", 'Write {"Accept-Language": "de"}'
            )
        if name.lower() == "cookie":
            raise ConfigurationError(subject, "Cookie is no header of yours", "Set cookies in the policy's init")
    return dict(value)


def _is_header_value(text: Any) -> bool:
    return isinstance(text, str) and text.isascii() and text.isprintable() and bool(text.strip())
