"""``RedisElection``: a role is one hash; its number is the server's clock, or one more than the
last.
"""

from __future__ import annotations

from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.shards import quote_name
from mocra_scrapy.interfaces import IElection
from mocra_scrapy.models import Term

CAMPAIGN, RENEW, RESIGN, LEADER = (
    load_script(f"election_{verb}") for verb in ("campaign", "renew", "resign", "leader")
)


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
        got = await self._client.run(CAMPAIGN, [self._key], [candidate, milliseconds(lease)])
        return self._term(got)

    async def renew(self, candidate: str, number: int, lease: float) -> bool:
        return bool(await self._client.run(RENEW, [self._key], [candidate, str(number), milliseconds(lease)]))

    async def resign(self, candidate: str, number: int) -> bool:
        return bool(await self._client.run(RESIGN, [self._key], [candidate, str(number)]))

    async def leader(self) -> Term | None:
        return self._term(await self._client.run(LEADER, [self._key], []))

    def _term(self, got: list[bytes]) -> Term | None:
        if not got:
            return None
        return Term(self._role, got[0].decode("utf-8", "surrogateescape"), int(got[1]), int(got[2]) / 1000)
