"""``Session``: what one visitor of a site has, for policies, callbacks and other components."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from mocra_scrapy.exceptions import ConfigurationError

GOOD, BAD, EXPIRED, RETIRED = "good", "bad", "expired", "retired"
#: What a check may say.
VERDICTS = (GOOD, BAD, EXPIRED)
HEADER, DATA = "header:", "data:"
#: In ``meta`` of a request that makes a session, a :class:`Making`: no check looks at its answer, and no pool
#: chooses.
MAKING = "_mocra_session_making"
#: Bytes of JSON that one name keeps.
MOST_DATA = 50_000


class Making:
    """One log-in under way. ``without_proxy``: whether it waits for a proxy, which says nothing of it."""

    without_proxy = False


class SessionSource(Protocol):
    """Where a session comes from, and where its changes go."""

    def fields(self) -> Mapping[str, Any]:
        """All that is no cookie."""

    def set_fields(self, fields: Mapping[str, Any]) -> None:
        """JSON data; ``None`` deletes one."""

    def cookies(self) -> Sequence[Mapping[str, Any]]:
        """Those that are valid now."""

    def set_cookie(self, cookie: Mapping[str, Any]) -> None:
        """See :meth:`Session.set_cookie`."""


class Session:
    """One visitor, the same for all workers. What is set here is stored under the session's one key,
    merged with what other workers set, and goes nowhere else.

    ``session["token"] = …`` keeps any JSON data beside the cookies; ``headers`` are sent with each
    request of the session to its site.

    Attributes:
        id: its name; a pool's begins with the pool's and a slash.
        pool: the pool's name; empty: none.
        sticky: whether it keeps to one proxy.
    """

    def __init__(
        self,
        id: str,
        pool: str,
        source: SessionSource,
        *,
        sticky: bool = False,
        judge: Callable[[str, str], None] | None = None,
    ) -> None:
        self.id, self.pool, self.sticky = id, pool, sticky
        self._source, self._judge = source, judge

    def __repr__(self) -> str:
        return f"<Session {self.id}>"  # nothing of what it holds

    # ------------------------------------------------------------------ data

    def __getitem__(self, name: str) -> Any:
        return self._source.fields()[DATA + name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Raises ConfigurationError: it is no JSON data, or too much."""
        try:
            size = len(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"session[{name!r}]", f"{type(value).__name__} can't be stored", "Use JSON data"
            ) from error
        if size > MOST_DATA:
            raise ConfigurationError(
                f"session[{name!r}]", f"{size:,} bytes of JSON; {MOST_DATA:,} can be kept", "Keep less of it"
            )
        self._source.set_fields({DATA + name: value})

    def __delitem__(self, name: str) -> None:
        self._source.set_fields({DATA + name: None})

    def __contains__(self, name: object) -> bool:
        return f"{DATA}{name}" in self._source.fields()

    def __iter__(self) -> Iterator[str]:
        return iter([name.removeprefix(DATA) for name in self._source.fields() if name.startswith(DATA)])

    def get(self, name: str, default: Any = None) -> Any:
        return self._source.fields().get(DATA + name, default)

    # ------------------------------------------------------------------ what is sent

    @property
    def headers(self) -> dict[str, str]:
        """A copy; :meth:`set_header` changes one."""
        fields = self._source.fields()
        return {name.removeprefix(HEADER): value for name, value in fields.items() if name.startswith(HEADER)}

    def set_header(self, name: str, value: str | None) -> None:
        """Send *name* with each request of the session to its site; ``None``: no longer.

        Raises:
            ConfigurationError: it can't be a header.
        """
        good = isinstance(name, str) and name.isascii() and name.replace("-", "").isalnum() and name.lower() != "cookie"
        if not good or not (value is None or (isinstance(value, str) and value.isascii() and value.isprintable())):
            raise ConfigurationError(
                f"session header {name!r}", "it is no header of printable text", "Use set_cookie for cookies"
            )
        self._source.set_fields({HEADER + name.title(): value})

    @property
    def user_agent(self) -> str | None:
        return self.headers.get("User-Agent")

    @property
    def cookies(self) -> Sequence[Mapping[str, Any]]:
        """Those that are valid now: ``name``, ``value``, ``domain``, ``path``, ``expires``, ``secure``."""
        return self._source.cookies()

    def cookie(self, name: str) -> str | None:
        """The value of the cookie *name*, of whatever path; ``None``: there is none."""
        return next((cookie["value"] for cookie in self.cookies if cookie["name"] == name), None)

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        domain: str,
        path: str = "/",
        expires: float | None = None,
        secure: bool = False,
    ) -> None:
        """As if a site had set it.

        Args:
            domain: ``"shop.example"``: of this host only; ``".shop.example"``: also of those below it.
            expires: seconds since the epoch; ``None``: with the session.
        """
        self._source.set_cookie(
            {"name": name, "value": value, "domain": domain, "path": path, "expires": expires, "secure": secure}
        )

    # ------------------------------------------------------------------ its proxy

    @property
    def proxy(self) -> str:
        """Identity of the proxy that it keeps to; empty: none."""
        return str(self._source.fields().get("proxy") or "")

    def bind_proxy(self, identity: str) -> None:
        """Keep to this proxy, on all workers. An identity is no secret."""
        if identity != self.proxy:
            self._source.set_fields({"proxy": identity or None})

    # ------------------------------------------------------------------ its end

    def bad(self, why: str = "") -> None:
        """Count one error against it, as a bad answer does."""
        self._say(BAD, why)

    def expire(self, why: str = "") -> None:
        """It is not logged in any more: one worker refreshes it, or makes another one."""
        self._say(EXPIRED, why)

    def retire(self, why: str = "") -> None:
        """Nobody uses it any more."""
        self._say(RETIRED, why)

    def _say(self, verdict: str, why: str) -> None:
        if self._judge is not None:
            self._judge(verdict, why)
