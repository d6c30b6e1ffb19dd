"""What sites answered, beside the dead letters of one crawl."""

from __future__ import annotations

from mocra_scrapy.models.dead_letters import RESPONSE_OVERHEAD


class ResponseTable:
    """Responses by the id of their letter.

    Attributes:
        bytes: of all of them, as they are counted.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._kept: dict[str, tuple[str, bytes]] = {}  # id: kind, content
        self._kinds: dict[str, int] = {}  # how many there are of each

    def clear(self) -> None:
        self.bytes = 0
        self._kept.clear()
        self._kinds.clear()

    def keep(self, identity: str, kind: str, content: bytes, most: int, most_bytes: int) -> bool:
        """*content* beside the letter *identity*; ``False``: there are *most* of its kind, or all
        would take more than *most_bytes*.
        """
        size, of_kind = self._size(kind, content), self._kinds.get(kind, 0)
        if of_kind >= most or self.bytes + size > most_bytes:
            return False
        self._kept[identity] = kind, content
        self._kinds[kind] = of_kind + 1
        self.bytes += size
        return True

    def drop(self, identity: str) -> None:
        """The letter *identity* is gone."""
        kind, content = self._kept.pop(identity, ("", None))
        if content is None:
            return
        self.bytes -= self._size(kind, content)
        self._kinds[kind] -= 1
        if not self._kinds[kind]:
            del self._kinds[kind]

    def get(self, identity: str) -> bytes | None:
        return self._kept.get(identity, ("", None))[1]

    @staticmethod
    def _size(kind: str, content: bytes) -> int:
        return len(content) + len(kind.encode("utf-8", "surrogateescape")) + RESPONSE_OVERHEAD
