"""``Candidate``: what it believes, and when. The clock is the test's; short waits of the loop are
real.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination import term_tasks
from mocra_scrapy.coordination.leadership import Candidate
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.models import Term


class Clock:
    """One for the server and the candidates. It stands still but for ``now +=``."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Role:
    """An election whose server can be made to fail, or to answer late."""

    def __init__(self, clock: Clock) -> None:
        self.real = MemoryBackend(clock=clock).election("boss")
        self.away = False
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda verb: None
        self.after: Callable[[str], None] = lambda verb: None

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any) -> Any:
            self.calls.append(verb)
            self.before(verb)
            if self.away:
                raise BackendUnavailable("away")
            answer = await getattr(self.real, verb)(*args)
            self.after(verb)
            return answer

        return call


FAST = {"lease": 0.6, "renew": 0.02, "deadline": 0.4, "retry": 0.02}


async def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.002)
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def role(clock: Clock) -> Role:
    return Role(clock)


@pytest.mark.parametrize(
    "wrong", [{"renew": 0}, {"renew": 10}, {"deadline": 15}, {"deadline": 16}, {"retry": 0}, {"lease": 9}]
)
def test_times_that_do_not_fit_are_refused(wrong: dict[str, float], role: Role) -> None:
    with pytest.raises(ConfigurationError, match="renew < deadline < lease"):
        Candidate(role, "a", **wrong)  # type: ignore[arg-type]


async def test_belief_ends_by_the_clock_and_not_by_a_timer(clock: Clock, role: Role) -> None:
    async with Candidate(role, "a", clock=clock) as a:  # type: ignore[arg-type]
        term = await a.elected()
        assert (a.is_leader, a.number, a.term) == (True, term.number, term)
        clock.now += 9.9
        assert a.is_leader
        clock.now += 0.2  # the loop has run nothing in between, as after a suspension
        assert (a.is_leader, a.number, a.term) == (False, None, None)
        found = await role.real.leader()
        assert found is not None, "the lease goes on: belief ended first"
    assert not a.is_leader


async def test_belief_begins_before_the_request_is_sent(clock: Clock, role: Role) -> None:
    def slow(verb: str) -> None:
        clock.now += 4.0

    role.before = slow
    async with Candidate(role, "a", clock=clock) as a:  # type: ignore[arg-type]
        await a.elected()
        clock.now += 5.9
        assert a.is_leader
        clock.now += 0.2
        assert not a.is_leader, "10 s from before the request was sent"


async def test_an_answer_that_came_too_late_is_not_believed(clock: Clock, role: Role) -> None:
    def late(verb: str) -> None:
        if role.calls.count("campaign") == 1:
            clock.now += 0.5

    role.after = late
    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        await eventually(lambda: "campaign" in role.calls)
        assert not a.is_leader
        term = await a.elected()
        assert role.calls[:2] == ["campaign", "campaign"]
        assert term.number > 0


async def test_a_stopped_leader_is_lost_for_good_and_contends_again(clock: Clock, role: Role) -> None:
    told: list[tuple[str, Term]] = []
    async with Candidate(
        role,  # type: ignore[arg-type]
        "a",
        clock=clock,
        **FAST,
        elected=lambda term: told.append(("elected", term)),
        lost=lambda term: told.append(("lost", term)),
    ) as a:
        first = await a.elected()
        clock.now += 1.0
        other = await role.real.campaign("b", 0.6)
        assert other is not None
        await eventually(lambda: ("lost", first) in told)
        assert not a.is_leader
        clock.now += 1.0
        again = await a.elected()
        assert again.number > other.number > first.number
    assert [kind for kind, _ in told] == ["elected", "lost", "elected", "lost"]


async def test_a_term_that_was_taken_away_is_over_at_once(clock: Clock, role: Role) -> None:
    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        term = await a.elected()
        assert await role.real.resign("a", term.number)  # by hand
        assert await role.real.campaign("b", 1000)
        await eventually(lambda: not a.is_leader)
        assert clock.now == 100.0


async def test_an_outage_shorter_than_the_deadline_changes_nothing(clock: Clock, role: Role) -> None:
    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        term = await a.elected()
        role.away, role.calls = True, []
        await eventually(lambda: role.calls.count("renew") >= 2)
        assert a.number == term.number
        role.away, role.calls = False, []
        await eventually(lambda: "renew" in role.calls)
        assert a.number == term.number


async def test_an_outage_longer_than_the_deadline_ends_the_term_and_contention_goes_on(
    clock: Clock, role: Role
) -> None:
    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        first = await a.elected()
        role.away = True
        clock.now += 0.41
        await eventually(lambda: role.calls[-2:] == ["campaign", "campaign"])
        assert not a.is_leader
        clock.now += 1.0
        role.away = False
        assert (await a.elected()).number > first.number


async def test_tasks_live_as_long_as_a_term(clock: Clock, role: Role) -> None:
    log: list[str] = []
    running = 0

    async def work(term: Term) -> None:
        nonlocal running
        running += 1
        assert running == 1, "two terms at once"
        log.append("begun")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # it takes its time
            log.append("ended")
            raise
        finally:
            running -= 1

    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        a.task(work)
        assert log == []
        await eventually(lambda: log == ["begun"])
        clock.now += 1.0
        await eventually(lambda: log == ["begun", "ended", "begun"])
    assert log == ["begun", "ended"] * 2


async def test_tasks_end_before_the_resignation(clock: Clock, role: Role) -> None:
    async with Candidate(role, "a", clock=clock) as a:  # type: ignore[arg-type]

        @a.task
        async def work(term: Term) -> None:
            role.calls.append("work began")
            try:
                await asyncio.sleep(3600)
            finally:
                role.calls.append("work ended")

        await a.elected()
        await eventually(lambda: "work began" in role.calls)
    assert role.calls[-2:] == ["work ended", "resign"]
    assert await role.real.leader() is None
    await a.close()
    assert role.calls.count("resign") == 1


async def test_a_leader_whose_task_fails_steps_down(clock: Clock, role: Role, caplog: pytest.LogCaptureFixture) -> None:
    async def fails(term: Term) -> None:
        raise ZeroDivisionError

    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        a.task(fails)
        await eventually(lambda: "resign" in role.calls)
        async with Candidate(role, "b", clock=clock, **FAST) as b:  # type: ignore[arg-type]
            await b.elected()
    assert "steps down" in caplog.text


async def test_closing_without_a_server_is_quiet(clock: Clock, role: Role) -> None:
    role.away = True
    async with Candidate(role, "a", clock=clock, **FAST):  # type: ignore[arg-type]
        await eventually(lambda: len(role.calls) > 2)
    role.away = False
    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        await a.elected()
        role.away = True


async def test_a_crowd_has_one_leader_at_a_time(clock: Clock, role: Role) -> None:
    crowd = [Candidate(role, f"c{i}", clock=clock, **FAST) for i in range(5)]  # type: ignore[arg-type]
    numbers: list[int] = []
    for one in crowd:
        one.start()
    for _ in range(6):
        await eventually(lambda: any(one.is_leader for one in crowd))
        (leader,) = (one for one in crowd if one.is_leader)
        assert leader.number is not None
        numbers.append(leader.number)
        await leader.close()
        leader.start()
        clock.now += 0.05
    assert numbers == sorted(set(numbers))
    for one in crowd:
        await one.close()


async def test_a_belief_that_is_renewed_counts_from_before_the_request(clock: Clock, role: Role) -> None:
    """A renewal that takes 4 s ends belief 10 s after it was sent."""

    def slow(verb: str) -> None:
        if verb == "renew" and not role.away:
            clock.now += 4.0

    def then_away(verb: str) -> None:
        role.away = verb == "renew"

    role.before, role.after = slow, then_away
    async with Candidate(role, "a", clock=clock, lease=15, renew=0.02, deadline=10, retry=0.02) as a:  # type: ignore[arg-type]
        await a.elected()
        await eventually(lambda: role.calls.count("renew") >= 2)
        clock.now = 100.0 + 9.9
        assert a.is_leader
        clock.now = 100.0 + 10.1
        assert not a.is_leader


class Swallows:
    """What ``asyncio.wait_for`` does until Python 3.12: a cancellation that comes together with the
    result is lost.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []

    async def __call__(self, term: Term) -> None:
        self.begun.append(term.number)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        try:
            await asyncio.sleep(3600)
        finally:
            self.ended.append(term.number)


async def test_a_leader_whose_task_swallowed_its_end_decides_all_the_same(
    clock: Clock, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(term_tasks, "GRACE", 0.01)
    work = Swallows()
    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        a.task(work)
        first = await a.elected()
        await eventually(lambda: work.begun)
        clock.now += 1.0
        await eventually(lambda: a.number not in (None, first.number))
        await eventually(lambda: len(work.begun) == 2)
        assert work.ended == work.begun[:1], "never two at a time"
    assert work.ended == work.begun


async def test_no_task_of_any_term_outlives_the_resignation(clock: Clock, role: Role) -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def work(term: Term) -> None:
        begun.append(term.number)
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.1)  # it flushes something
            ended.append(term.number)

    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        a.task(work)
        first = await a.elected()
        await eventually(lambda: begun)
        await role.real.resign("a", first.number)  # by hand: it is lost, and won again at once
        await eventually(lambda: a.number not in (None, first.number))
        role.after = lambda verb: role.calls.append(f"after {len(ended)}")
    assert ended == [first.number]
    assert role.calls[-2:] == ["resign", "after 1"], "the second one had not begun"


async def test_a_role_that_was_won_by_a_campaign_nobody_waited_for_is_given_back(clock: Clock, role: Role) -> None:
    answer = asyncio.Event()
    real, held = role.real, []

    class Slow:
        async def campaign(self, *args: Any) -> Any:
            held.append(await real.campaign(*args))
            await answer.wait()
            return held[-1]

        def __getattr__(self, verb: str) -> Any:
            return getattr(real, verb)

    a = Candidate(Slow(), "a", clock=clock)  # type: ignore[arg-type]
    a.start()
    await eventually(lambda: held)
    closing = asyncio.ensure_future(a.close())
    await asyncio.sleep(0)
    answer.set()
    await closing
    assert await real.leader() is None


async def test_a_candidate_that_can_not_contend_says_so_once(
    clock: Clock, role: Role, caplog: pytest.LogCaptureFixture
) -> None:
    role.away = True
    async with Candidate(role, "a", clock=clock, **FAST) as a:  # type: ignore[arg-type]
        await eventually(lambda: len(role.calls) > 4)
        assert a.trouble == "away"
        assert caplog.text.count("Candidate a can't run for its roles, it will try again: away") == 1
        role.away = False
        await a.elected()
        assert a.trouble == ""
