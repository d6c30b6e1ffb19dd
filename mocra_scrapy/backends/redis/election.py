"""``RedisElection``: a role is one hash; its number is the server's clock, or one more than the
last.
"""

from __future__ import annotations

from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.client import RedisClient, load_script
from mocra_scrapy.backends.redis.shards import quote_name
from mocra_scrapy.interfaces import IElection
from mocra_scrapy.models import Term

ELECTION = load_script("election", "_coordination")


def milliseconds(seconds: float) -> str:
    """*seconds* for a script: whole milliseconds, one at least."""
    return str(max(1, round(seconds * 1000)))


@implementer(IElection)
class RedisElection:
    """See :class:`~mocra_scrapy.interfaces.IElection`. Every verb may be repeated: what counts is
    who calls, not how often.
    """

    def __init__(self, client: RedisClient, prefix: str, role: str) -> None:
        self._client = client
        self._role = role
        self._key = f"{prefix}:{{+lead:{quote_name(role)}}}:term"

    async def campaign(self, candidate: str, lease: float) -> Term | None:
        got = await self._client.run(ELECTION, [self._key], ["campaign", candidate, "", milliseconds(lease)])
        return self._term(got)

    async def renew(self, candidate: str, number: int, lease: float) -> bool:
        args = ["renew", candidate, str(number), milliseconds(lease)]
        return bool(await self._client.run(ELECTION, [self._key], args))

    async def resign(self, candidate: str, number: int) -> bool:
        return bool(await self._client.run(ELECTION, [self._key], ["resign", candidate, str(number), "0"]))

    async def leader(self) -> Term | None:
        return self._term(await self._client.run(ELECTION, [self._key], ["leader", "", "", "0"]))

    def _term(self, got: list[bytes]) -> Term | None:
        if not got:
            return None
        return Term(self._role, got[0].decode("utf-8", "surrogateescape"), int(got[1]), int(got[2]) / 1000)
