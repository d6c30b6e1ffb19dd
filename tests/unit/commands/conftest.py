"""What tests of commands share."""

from __future__ import annotations

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.commands.verbs import backend_session


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MemoryBackend:
    """One that counts as shared, and is there for the whole test."""
    made = MemoryBackend()
    monkeypatch.setattr(MemoryBackend, "shared", True)
    monkeypatch.setattr(backend_session, "open_by_role", lambda *_: made)
    return made
