"""Schedules: a year in three time zones against an independent implementation, days of clock
changes by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocra_scrapy.cron import zones
from mocra_scrapy.cron.schedule import ALIASES, BadSchedule, Fire, Schedule

BERLIN, NEW_YORK, LORD_HOWE, KOLKATA = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"
EXPRESSIONS = [
    "30 2 * * *",
    "30 1 * * *",
    "15,45 1,2,3 * * *",
    "0 */2 * * *",
    "*/30 * * 3,4,10,11 *",
    "*/15 2 * * *",
    "17 * * 3,4,10,11 *",
    "0 1-3 * * *",
    "0 0 1 * *",
    "5 4 * * sun",
    "0 8 * * 1-5",
    "0 3 13 * 5",
    "0 0 */2 * 1",
    "0 12 L * *",
    "*/30 0 */3 * 3,4,10,11 *",
]
#: Where clocks change by half an hour the oracle, which steps in whole hours, steps over times that
#: the clock does show.
ORACLE_MISSES = {
    "0 */2 * * *": ["2026-04-05 02:00"],
    "*/15 2 * * *": ["2026-04-05 02:00", "2026-04-05 02:15"],
    "*/30 0 */3 * 3,4,10,11 *": ["2026-04-05 03:00", "2026-04-05 03:00", "2026-10-04 03:00", "2026-10-04 03:00"],
}


def instant(text: str, zone: str = "UTC", fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp())


def shown(fires: Iterator[Fire] | list[Fire], zone: str) -> list[str]:
    """Local times with their offset from UTC in hours."""
    out = []
    for fire in fires:
        ahead = zones.offset(ZoneInfo(zone), fire.instant) / 3600
        out.append(f"{zones.local(ZoneInfo(zone), fire.instant):%H:%M}{ahead:+g}")
    return out


def day(expression: str, date: str, zone: str) -> list[str]:
    begin = instant(f"{date} 00:00", zone)
    end = instant(f"{datetime.fromisoformat(date) + timedelta(days=1)}", zone)
    return shown(Schedule(expression, zone, "job").between(begin - 1, end - 1), zone)


@pytest.mark.slow
@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="cronsim, the oracle, needs Python 3.11; the code is the same there"
)
@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE, KOLKATA])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_year_is_as_an_independent_implementation_says(expression: str, zone: str) -> None:
    from cronsim import CronSim

    begin, end = instant("2026-01-01 00:00"), instant("2027-01-01 00:00")
    ours = [fire.instant for fire in Schedule(expression, zone, "job").between(begin, end)]
    theirs = []
    for moment in CronSim(expression, datetime.fromtimestamp(begin, ZoneInfo(zone))):
        if moment.timestamp() > end:
            break
        theirs.append(int(moment.timestamp()))
    extra = [f"{zones.local(ZoneInfo(zone), one):%Y-%m-%d %H:%M}" for one in sorted(set(ours) - set(theirs))]
    assert extra == (ORACLE_MISSES.get(expression, []) if zone == LORD_HOWE else [])
    assert set(theirs) <= set(ours)
    assert ours == sorted(set(ours))


@pytest.mark.parametrize(
    ("expression", "date", "zone", "expected"),
    [
        # Spring in Berlin: at 02:00+1 clocks show 03:00+2.
        ("30 2 * * *", "2026-03-29", BERLIN, ["03:00+2"]),
        ("30 1 * * *", "2026-03-29", BERLIN, ["01:30+1"]),
        ("15,45 2 * * *", "2026-03-29", BERLIN, ["03:00+2"]),
        ("0,30 2,3 * * *", "2026-03-29", BERLIN, ["03:00+2", "03:30+2"]),
        ("0 */2 * * *", "2026-03-29", BERLIN, [f"{h:02}:00{'+1' if h < 2 else '+2'}" for h in range(0, 24, 2) if h != 2]),
        ("*/30 1-3 * * *", "2026-03-29", BERLIN, ["01:00+1", "01:30+1", "03:00+2", "03:30+2"]),
        # Autumn in Berlin: at 03:00+2 clocks show 02:00+1.
        ("30 2 * * *", "2026-10-25", BERLIN, ["02:30+2"]),
        ("30 1 * * *", "2026-10-25", BERLIN, ["01:30+2"]),
        ("0 2,3 * * *", "2026-10-25", BERLIN, ["02:00+2", "03:00+1"]),
        ("*/30 1-3 * * *", "2026-10-25", BERLIN, ["01:00+2", "01:30+2", "02:00+2", "02:30+2", "02:00+1", "02:30+1", "03:00+1", "03:30+1"]),
        # New York, an hour earlier by the clock.
        ("30 2 * * *", "2026-03-08", NEW_YORK, ["03:00-4"]),
        ("30 1 * * *", "2026-11-01", NEW_YORK, ["01:30-4"]),
        ("0 * * * *", "2026-11-01", NEW_YORK, ["00:00-4", "01:00-4", "01:00-5"] + [f"{h:02}:00-5" for h in range(2, 24)]),
        # Lord Howe changes by half an hour.
        ("15 2 * * *", "2026-10-04", LORD_HOWE, ["02:30+11"]),
        ("45 1 * * *", "2026-04-05", LORD_HOWE, ["01:45+11"]),
        ("*/15 1 * * *", "2026-04-05", LORD_HOWE, ["01:00+11", "01:15+11", "01:30+11", "01:45+11", "01:30+10.5", "01:45+10.5"]),
        ("0 12 * * *", "2026-06-01", KOLKATA, ["12:00+5.5"]),
    ],
)  # fmt: skip
def test_days_on_which_clocks_change(expression: str, date: str, zone: str, expected: list[str]) -> None:
    assert day(expression, date, zone) == expected


def test_a_change_is_explained() -> None:
    def note(expression: str, before: str) -> str:
        return next(fire.note for fire in Schedule(expression, BERLIN).after(instant(before, BERLIN)) if fire.note)

    assert "02:30 is left out on this day" in note("30 2 * * *", "2026-03-28 12:00")
    assert "02:30 comes twice on this day" in note("30 2 * * *", "2026-10-24 12:00")
    assert "times from 02:00 to 03:00 are left out" in note("*/15 * * * *", "2026-03-28 12:00")
    assert "times from 02:00 to 03:00 come twice" in note("*/15 * * * *", "2026-10-24 12:00")
    assert not any(fire.note for fire in islice(Schedule("30 2 * * *", KOLKATA).after(0), 400))


def test_whoever_asks_in_the_middle_gets_the_rest() -> None:
    """The runner asks anew after each instant, from any moment: also from within the gap's and the
    doubled hour.
    """
    for expression in ("15,45 1,2,3 * * *", "*/20 * * * *", "*/7 */2 * * *"):
        for date in ("2026-03-29", "2026-10-25"):
            schedule = Schedule(expression, BERLIN)
            begin = instant(f"{date} 00:00", BERLIN)
            whole = [fire.instant for fire in schedule.between(begin, begin + 6 * 3600)]
            for moment in range(begin, begin + 6 * 3600, 299):
                rest = [fire.instant for fire in schedule.between(moment, begin + 6 * 3600)]
                assert rest == [one for one in whole if one > moment]


def test_the_last_second_before_a_change_is_asked_for_as_any_other() -> None:
    before = instant("2026-10-04T01:59:58", LORD_HOWE)
    fires = Schedule("59 59 * * * *", LORD_HOWE).after(before)
    assert [fire.instant - before for fire in islice(fires, 2)] == [1, 1 + 30 * 60]


def test_seconds_come_first() -> None:
    begin = instant("2026-06-01 00:00")
    fires = [fire.instant - begin for fire in islice(Schedule("*/20 0 * * * *").after(begin), 4)]
    assert fires == [20, 40, 3600, 3620]


def test_day_and_weekday_are_alternatives_unless_one_begins_with_a_star() -> None:
    begin, end = instant("2026-06-01 00:00") - 1, instant("2026-07-01 00:00") - 1
    either = [datetime.fromtimestamp(f.instant, timezone.utc).day for f in Schedule("0 0 13 * 5").between(begin, end)]
    assert either == [5, 12, 13, 19, 26]
    both = [datetime.fromtimestamp(f.instant, timezone.utc).day for f in Schedule("0 0 */2 * 5").between(begin, end)]
    assert both == [5, 19]


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    fires = list(islice(Schedule(alias, BERLIN).after(instant("2026-06-03 10:20")), 3))
    assert len(fires) == 3
    assert all(zones.local(ZoneInfo(BERLIN), fire.instant).minute == 0 for fire in fires)


def test_h_is_a_number_of_the_jobs_name() -> None:
    def first(job: str, text: str = "H H * * *") -> int:
        return next(Schedule(text, "UTC", job).after(0)).instant

    assert first("prices") == first("prices")
    assert len({first(f"job{i}") for i in range(50)}) > 30
    quarter = [fire.instant % 3600 // 60 for fire in islice(Schedule("H/15 * * * *", "UTC", "prices").after(0), 4)]
    assert [b - a for a, b in pairwise(quarter)] == [15, 15, 15]
    assert not Schedule("H/15 * * * *").fixed
    assert Schedule("H H * * *").fixed


@pytest.mark.parametrize(
    ("text", "problem", "fix"),
    [
        ("", "0 fields", "Write five"),
        ("* * * *", "4 fields", "Write five"),
        ("0 0 0 1 1 * 2027", "7 fields", "or six, with the second first"),
        ("61 * * * *", "'61' is not a valid minute", "from 0 to 59"),
        ("0 25 * * *", "'25' is not a valid hour", "from 0 to 23"),
        ("60 0 0 * * *", "'60' is not a valid second", "from 0 to 59"),
        ("0 0 32 * *", "'32' is not a valid day of month", "from 1 to 31"),
        ("0 0 * FOO *", "'FOO' is not a valid month", "JAN to DEC"),
        ("0 0 * * 5#6", "'5#6' is not a valid day of week", "0 and 7 are Sunday"),
        ("0 0 31 2 *", "never comes", "Such days are not in such months"),
        ("0 0 31 4,6,9,11 *", "never comes", "change one of them"),
        ("0 0 29 2 1#1", "never comes", "Change the day"),
        ("@dayly", "'@dayly' is unknown", "Did you mean '@daily'?"),
        ("@reboot", "'@reboot' is unknown", "Write one of @yearly"),
        ("R * * * *", "another number at each start", "Write H"),
        ("0 R(1-5) * * *", "another number at each start", "Write H"),
        ("*/70 * * * *", "longer than 60", "a smaller step"),
        ("*/0 * * * *", "'*/0' is not a valid minute", "from 0 to 59"),
        ("every day", "2 fields", "Write five"),
    ],
)
def test_what_means_nothing_is_refused(text: str, problem: str, fix: str) -> None:
    with pytest.raises(BadSchedule) as error:
        Schedule(text, "UTC", "job")
    assert problem in error.value.problem
    assert fix in error.value.fix


def test_the_longest_step_of_a_field_is_its_highest_number() -> None:
    assert Schedule("*/59 */23 * * *", "UTC").fields
    with pytest.raises(BadSchedule):
        Schedule("*/60 * * * *", "UTC")


@pytest.mark.parametrize(
    ("zone", "fix"), [("Europe/Berln", "Did you mean 'Europe/Berlin'?"), ("../x", "tz database"), ("", "tz database")]
)
def test_unknown_zones_are_refused(zone: str, fix: str) -> None:
    with pytest.raises(BadSchedule) as error:
        Schedule("@daily", zone)
    assert fix in str(error.value)


def test_the_rare_is_found() -> None:
    leap = [
        datetime.fromtimestamp(fire.instant, timezone.utc).year
        for fire in islice(Schedule("0 0 29 2 *").after(instant("2026-01-01 00:00")), 2)
    ]
    assert leap == [2028, 2032]
    assert next(Schedule("* * 29 2 *", BERLIN).after(instant("2026-01-01 00:00"))).instant == instant(
        "2028-02-29 00:00", BERLIN
    )


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2_000_000),
    st.integers(0, 60_000),
    st.integers(1, 40),
    st.sampled_from(["* * * * *", "*/7 * * * * *", "0 9 * * *", "5 0 1 1 *"]),
)
def test_the_latest_are_the_end_of_all(begin: int, length: int, limit: int, text: str) -> None:
    start = instant("2026-03-10 00:00") + begin
    schedule = Schedule(text, BERLIN)
    length = min(length, 1500) if text.count(" ") == 5 else length
    everything = list(schedule.between(start, start + length))
    found, more = schedule.latest(start, start + length, limit)
    assert found == everything[-limit:]
    assert more == (len(everything) > limit)


def test_the_latest_of_a_long_stop_cost_little() -> None:
    """A year of an every-second job has 31 million instants."""
    start = instant("2025-06-01 00:00")
    found, more = Schedule("* * * * * *", BERLIN).latest(start, instant("2026-06-01 00:00"), 500)
    assert len(found) == 500
    assert more
    assert found[-1].instant == instant("2026-06-01 00:00")


@pytest.mark.parametrize("text", ["30 2 * * *", "*/5 * * * *", "0 0 29 2 *", "* * * * * *"])
@pytest.mark.parametrize(
    "when", ["9999-12-31T00:00:00+00:00", "9999-12-31T23:59:59+00:00", "9899-12-31T23:59:00+00:00"]
)
def test_the_calendar_ends(text: str, when: str) -> None:
    start = datetime.fromisoformat(when).timestamp()
    assert len(list(islice(Schedule(text, "Europe/Berlin").after(start), 100))) <= 60
