"""Who is to be woken. How a worker sleeps and hears of it is the backend's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable


class Wakeups(ABC):
    """The workers that wanted and got nothing, who waits longest first."""

    def __init__(self) -> None:
        self._hungry: dict[str, None] = {}

    @abstractmethod
    def wake(self, worker: str) -> None:
        """*worker* has reason to call."""

    @abstractmethod
    def listeners(self) -> Iterable[str]:
        """Who sleeps now."""

    def hungry(self, worker: str) -> None:
        """*worker* wanted and got nothing."""
        self._hungry.pop(worker, None)
        self._hungry[worker] = None

    def fed(self, worker: str) -> None:
        """*worker* got something."""
        self._hungry.pop(worker, None)

    def wake_hungry(self, most: int | None = None, *, but: str | None = None) -> None:
        """Wake *most* (``None``: all) of those who got nothing, except *but*."""
        names = [name for name in self._hungry if name != but]
        for name in names[:most]:
            del self._hungry[name]
            self.wake(name)

    def forget(self, worker: str) -> None:
        """*worker* left or died. If it listens all the same, it goes on listening."""
        self._hungry.pop(worker, None)

    def clear(self) -> None:
        """Forget everybody; who listens goes on listening."""
        self._hungry.clear()

    def idle(self) -> bool:
        """Whether nobody is remembered."""
        return not self._hungry
