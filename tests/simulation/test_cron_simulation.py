"""Random schedules of crashes, pauses, lost answers and steps of clocks; and that the simulator would
see what it is there to see.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.simulation.cron_mistakes import IN_FILES, MISTAKES, seen_by
from tests.simulation.cron_simulation import World, simulate

pytestmark = pytest.mark.timeout(1200)
SCHEDULES = 500
IN_A_FILE = 30


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_what_must_hold_in_every_schedule() -> None:
    with ProcessPoolExecutor(2) as pool:
        wrong = {seed: faults for seed, faults in pool.map(simulate, range(SCHEDULES), chunksize=25) if faults}
    assert wrong == {}, "see `python -m tests.simulation.cron_simulation --seed N`"


def test_the_same_holds_with_states_in_a_file(quiet: None, tmp_path: Path) -> None:
    wrong = {seed: faults for seed in range(IN_A_FILE) if (faults := World(seed, tmp_path / str(seed)).run())}
    assert wrong == {}


def test_a_schedule_is_its_seed(quiet: None) -> None:
    one, two = World(7), World(7)
    assert one.run() == two.run() == []
    assert one.story == two.story
    assert len(one.story) > 5


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen(mistake: str, quiet: None) -> None:
    assert seen_by(MISTAKES[mistake], map(World, range(SCHEDULES)), first=True), f"{SCHEDULES} schedules saw nothing"


@pytest.mark.parametrize("mistake", IN_FILES)
def test_a_mistake_of_the_file_is_seen(mistake: str, quiet: None, tmp_path: Path) -> None:
    worlds = (World(seed, tmp_path / str(seed)) for seed in range(SCHEDULES))
    assert seen_by(IN_FILES[mistake], worlds, first=True), f"{SCHEDULES} schedules saw nothing"
