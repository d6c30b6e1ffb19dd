"""``Roles``: the candidates of one worker live as long as it does."""

from __future__ import annotations

import inspect
from typing import Any

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination.leadership import Candidate
from mocra_scrapy.coordination.roles import Roles
from mocra_scrapy.models import Term
from mocra_scrapy.settings import default_settings

from .test_leadership import eventually

TIMES = {"lease": 30.0, "renew": 5.0, "deadline": 20.0, "retry": 0.01}


def roles_of(worker: str, backend: MemoryBackend, won: list[Term], lost: list[Term]) -> Roles:
    return Roles(backend.election, worker, elected=won.append, lost=lost.append, **TIMES)


async def test_candidates_contend_from_the_opening_to_the_closing() -> None:
    backend = MemoryBackend()
    won: list[Term] = []
    lost: list[Term] = []
    roles = roles_of("a", backend, won, lost)
    boss = roles.leader("boss")
    assert roles.leader("boss") is boss
    assert boss._loop is None, "not before the spider is open"
    await roles.open()
    late = roles.leader("late")
    await eventually(lambda: boss.is_leader and late.is_leader)
    assert sorted(term.role for term in won) == ["boss", "late"]
    await roles.close()
    assert sorted(term.role for term in lost) == ["boss", "late"]
    assert [await backend.election(role).leader() for role in ("boss", "late")] == [None, None], "they resigned"
    other = roles_of("b", backend, won, lost)
    await other.open()
    await eventually(lambda: other.leader("boss").is_leader)
    await other.close()


def test_a_candidate_of_ones_own_has_the_times_of_the_settings() -> None:
    parameters: Any = inspect.signature(Candidate).parameters
    for name in TIMES:
        assert parameters[name].default == getattr(default_settings, f"MOCRA_LEADER_{name.upper()}")
