"""``LeaderElection``: this worker is a candidate for the roles that settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy.runtime import Mocra

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class LeaderElection:
    """Contends for the roles in ``MOCRA_LEADER_ROLES``. Further ones:
    ``Mocra.from_crawler(crawler).leader(role)``.
    """

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises NotSupported: roles are named, and the backend has no elections."""
        mocra = Mocra.from_crawler(crawler)
        for role in mocra.coordination.leader_roles:
            mocra.leader(role)
        return cls()
